"""GET /metrics: the site's numbers, for Prometheus; found out anew for every scrape.

What cannot be read is left out, and `fastcms_metrics_errors` names it: one part never costs the others.
Names follow https://prometheus.io/docs/practices/naming/; docs/deployment.md explains them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from functools import partial
from itertools import accumulate, product

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

import fastcms
from fastcms.accounts.dependencies import OptionalCaller, check_scope, get_caller
from fastcms.accounts.schemas import Scope
from fastcms.backups import history, restoring
from fastcms.backups.elsewhere import Elsewhere
from fastcms.backups.engine.pending import Kind
from fastcms.backups.history import RunKind
from fastcms.backups.job_files import JobState
from fastcms.backups.restore_schemas import RestoreState
from fastcms.backups.status import SafetyState, Status, describe_status
from fastcms.backups.storage import Storage
from fastcms.errors import BackupError
from fastcms.logs import get_logger
from fastcms.request_metrics import BUCKETS_SECONDS, RequestCounts, RequestKind
from fastcms.site import Site
from fastcms.web import CurrentSite

router = APIRouter(tags=["metrics"])

# Name, meaning, and value; None is left out.
_OF_STATUS: Sequence[tuple[str, str, Callable[[Status], float | None]]] = (
    (
        "fastcms_backup_safe",
        "Whether the backups that are there keep the site safe.",
        lambda status: status.is_safe,
    ),
    (
        "fastcms_backup_last_success_timestamp_seconds",
        "When the newest backup was made.",
        lambda status: status.last_success.created.timestamp() if status.last_success else None,
    ),
    (
        "fastcms_backup_last_size_bytes",
        "Size of the newest backup.",
        lambda status: status.last_success.size_bytes if status.last_success else None,
    ),
    (
        "fastcms_backup_last_duration_seconds",
        "How long the newest backup took.",
        lambda status: status.last_success.seconds if status.last_success else None,
    ),
    (
        "fastcms_backup_last_failure_timestamp_seconds",
        "When a backup last failed.",
        lambda status: status.last_failure.time.timestamp() if status.last_failure else None,
    ),
    (
        "fastcms_backup_verified_timestamp_seconds",
        "When the newest backup that is known to be sound was verified.",
        lambda status: status.verified.verified.timestamp() if status.verified else None,
    ),
    (
        "fastcms_backup_verified_in_full_timestamp_seconds",
        "When the newest backup that was restored as a test was.",
        lambda status: status.verified_in_full.verified.timestamp() if status.verified_in_full else None,
    ),
    (
        "fastcms_backup_next_run_timestamp_seconds",
        "When the next backup is due.",
        lambda status: status.next_run.timestamp() if status.next_run else None,
    ),
)
_OF_STORAGE: Sequence[tuple[str, str, Callable[[Storage], float | None]]] = (
    ("fastcms_backups", "How many backups there are.", lambda storage: storage.backups),
    ("fastcms_backups_size_bytes", "Size of all backups together.", lambda storage: storage.backups_bytes),
    (
        "fastcms_backup_needed_bytes",
        "Free space that the next backup may need.",
        lambda storage: storage.next_backup_bytes,
    ),
    (
        "fastcms_disk_full_timestamp_seconds",
        "When the disk of the backups will be full, if it fills up as it does now.",
        lambda storage: _midnight(storage.full_on) if storage.full_on else None,
    ),
)


class SiteCollector:
    """Gives prometheus_client all metrics of a site."""

    def __init__(self, site: Site, requests: RequestCounts) -> None:
        self._parts: Mapping[str, Callable[[], Iterable[Metric]]] = {
            "status": partial(_describe_status, site),
            "runs": partial(_describe_runs, site),
            "restores": partial(_describe_restores, site),
            "requests": partial(_describe_requests, requests),
        }

    def collect(self) -> Iterator[Metric]:
        """All metrics that can be read."""
        build = GaugeMetricFamily("fastcms_build_info", "What runs.", labels=["version"])
        build.add_metric([fastcms.__version__], 1)
        yield build
        text = "Whether metrics of this part are missing, because they could not be read."
        errors = GaugeMetricFamily("fastcms_metrics_errors", text, labels=["part"])
        for part, describe in self._parts.items():
            try:
                yield from describe()
            except Exception as error:  # noqa: BLE001 - whatever it is, the other parts can be shown
                get_logger().warning("Metrics could not be read.", part=part, reason=str(error))
                errors.add_metric([part], 1)
            else:
                errors.add_metric([part], 0)
        yield errors


@router.get("/metrics", response_class=PlainTextResponse)
def show_metrics(request: Request, site: CurrentSite, caller: OptionalCaller) -> PlainTextResponse:
    """Show the site's numbers in the text format of Prometheus."""
    if not site.settings.metrics_public:
        check_scope(get_caller(caller), Scope.METRICS_READ)
    content = generate_latest(SiteCollector(site, request.app.state.requests))
    return PlainTextResponse(content, media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _describe_status(site: Site) -> Iterator[Metric]:
    status = describe_status(site)
    for name, text, read in _OF_STATUS:
        if (value := read(status)) is not None:
            yield GaugeMetricFamily(name, text, value)
    text = "How the site stands: 1 for one of the states."
    states = GaugeMetricFamily("fastcms_backup_state", text, labels=["state"])
    for state in SafetyState:
        states.add_metric([state], state is status.state)
    yield states
    text = "Why the site is not safe, or not quite, as `fastcms backup status` has it."
    reasons = GaugeMetricFamily("fastcms_backup_reasons", text, labels=["code", "level"])
    # Counted: one may be there more than once.
    for labels, count in Counter((reason.code, reason.level) for reason in status.reasons).items():
        reasons.add_metric(labels, count)
    yield reasons
    if status.storage is not None:
        yield from _describe_storage(status.storage)
    if status.elsewhere is not None:
        yield from _describe_elsewhere(status.elsewhere)
    unseen = [reason.message for reason in status.reasons if reason.code == "cannot_look"]
    if unseen:  # then nobody knows whether one is overdue
        raise BackupError(unseen[0])
    is_overdue = status.overdue_since is not None
    yield GaugeMetricFamily(
        "fastcms_backup_overdue", "Whether a backup should be there and is not.", is_overdue
    )


def _describe_elsewhere(elsewhere: Elsewhere) -> Iterator[Metric]:
    text = "Copies of backups at a destination, by what has become of them."
    copies = GaugeMetricFamily("fastcms_backup_copies", text, labels=["destination", "state"])
    text = "Size of the copies at a destination."
    size = GaugeMetricFamily("fastcms_backup_copies_size_bytes", text, labels=["destination"])
    text = "When the newest backup was made that has a copy at a destination; 0 when none has."
    newest = GaugeMetricFamily("fastcms_backup_newest_copy_timestamp_seconds", text, labels=["destination"])
    text = "Whether a destination could be used when it was last looked at."
    reachable = GaugeMetricFamily("fastcms_backup_destination_up", text, labels=["destination"])
    for found in elsewhere.destinations:
        for state in ("copied", "waiting", "failed"):
            copies.add_metric([found.place, state], getattr(found, state))
        size.add_metric([found.place], found.copied_bytes)
        created = found.newest_copy.created.timestamp() if found.newest_copy else 0
        newest.add_metric([found.place], created)
        reachable.add_metric([found.place], found.failing_since is None)
    yield from (copies, size, newest, reachable)


def _describe_storage(storage: Storage) -> Iterator[Metric]:
    for name, text, read in _OF_STORAGE:
        if (value := read(storage)) is not None:
            yield GaugeMetricFamily(name, text, value)
    text = "Free space of the disk that holds a folder."
    free = GaugeMetricFamily("fastcms_disk_free_bytes", text, labels=["folder"])
    size = GaugeMetricFamily("fastcms_disk_size_bytes", "Size of that disk.", labels=["folder"])
    for disk in (storage.disk, *storage.other_disks):
        free.add_metric([disk.folder], disk.free_bytes)
        size.add_metric([disk.folder], disk.total_bytes)
    yield from (free, size)


def _describe_runs(site: Site) -> Iterator[Metric]:
    # A counter that begins at 1 would hide its first increase.
    ends = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
    runs: Counter[tuple[str, str]] = Counter(dict.fromkeys(product(RunKind, ends), 0))
    failures: Counter[tuple[str, str]] = Counter()
    for tally in history.read_tallies(site):
        runs[tally.kind, tally.state] += tally.runs
        if tally.state == JobState.FAILED:
            failures[tally.kind, tally.code] += tally.runs
    text = "What was done to backups; restore is the staging of one."
    yield _counter("fastcms_backup_runs_total", text, ["kind", "state"], runs)
    text = "What was tried and failed, by the code of the error."
    yield _counter("fastcms_backup_failures_total", text, ["kind", "reason"], failures)


def _describe_restores(site: Site) -> Iterator[Metric]:
    outcomes = (RestoreState.RESTORED, RestoreState.ROLLED_BACK)
    restores: Counter[tuple[str, str]] = Counter(dict.fromkeys(product(Kind, outcomes), 0))
    restores.update((receipt.kind, receipt.outcome) for receipt in restoring.list_restores(site))
    text = "Restores of backups, and undos of restores, by how they ended."
    yield _counter("fastcms_restores_total", text, ["kind", "outcome"], restores)


def _describe_requests(requests: RequestCounts) -> Iterator[Metric]:
    text = "How long requests took, until the last byte of the answer."
    family = HistogramMetricFamily("fastcms_http_request_duration_seconds", text, labels=RequestKind._fields)
    bounds = [*map(str, BUCKETS_SECONDS), "+Inf"]
    for kind, (*counted, seconds) in sorted(requests.total().items()):
        family.add_metric(kind, list(zip(bounds, accumulate(counted), strict=True)), seconds)
    yield family


def _counter(
    name: str, text: str, labels: Sequence[str], values: Counter[tuple[str, str]]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=labels)
    for label_values, value in values.items():
        family.add_metric(label_values, value)
    return family


def _midnight(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()
