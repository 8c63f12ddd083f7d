"""What Prometheus is shown, to whom, and that one part which cannot be read costs no other."""

import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from fastcms.accounts.schemas import Scope
from fastcms.accounts.service import create_token
from fastcms.backups import history, jobs, service, tasks
from fastcms.backups.backup_notes import VerificationLevel
from fastcms.backups.engine.pending import Kind, RestoreReceipt, add_receipt
from fastcms.backups.folder import data_paths
from fastcms.backups.history_file import history_path
from fastcms.backups.job_files import JobState
from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.main import create_app
from fastcms.request_metrics import RequestCounts
from fastcms.site import Site
from tests.e2e.conftest import REPOSITORY
from tests.runs import add_run

PROMTOOL = Path(sys.executable).parent / "promtool"  # `make programs` brings it

Samples = dict[str, dict[tuple[str, ...], float]]


def scrape(client: TestClient) -> Samples:
    """The values of each metric, by the values of its labels."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples: Samples = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            labels = tuple(sample.labels[name] for name in sorted(sample.labels))
            assert labels not in samples.get(sample.name, {})
            samples.setdefault(sample.name, {})[labels] = sample.value
    return samples


def requests_of(samples: Samples, *labels: str) -> float:
    """How many requests of a method, route and status there were."""
    return samples["fastcms_http_request_duration_seconds_count"].get(labels, 0)


def receipt(number: int, kind: Kind, outcome: str) -> RestoreReceipt:
    return RestoreReceipt(
        restore_id=str(number),
        backup_filename="backup_20260101_020000.zip",
        requested_by="me",
        requested="2026-01-02T00:00:00+00:00",
        finished="2026-01-02T00:00:01+00:00",
        outcome=outcome,
        reason="",
        kind=kind,
    )


def test_only_who_may_read_metrics_is_shown_them(
    client: TestClient, editor: TestClient, anonymous: TestClient, site: Site
) -> None:
    statuses = {}
    for scope in Scope:
        with site.database.write() as session:
            token, _row = create_token(session, scope, [scope], None)
        headers = {"Authorization": f"Bearer {token}"}
        statuses[scope] = TestClient(client.app).get("/metrics", headers=headers).status_code
    assert {scope for scope, status in statuses.items() if status == 200} == {Scope.ADMIN, Scope.METRICS_READ}
    assert client.get("/metrics").status_code == 200
    assert editor.get("/metrics").status_code == 403
    assert TestClient(client.app).get("/metrics").json()["code"] == "not_authenticated"


def test_everybody_is_shown_public_metrics(settings: Settings) -> None:
    with TestClient(create_app(settings.model_copy(update={"metrics_public": True}))) as client:
        assert scrape(client)["fastcms_backup_state"]["waiting",] == 1


def test_the_metrics_are_what_was_done(client: TestClient, site: Site) -> None:
    created = jobs.run(site, tasks.creation(site, "me"))
    jobs.run(site, tasks.verifying(site, created.filename, "me", level=VerificationLevel.LIGHT))
    add_run(site, utc_now(), JobState.FAILED)
    for number, (kind, outcome) in enumerate(
        [(Kind.BACKUP, "restored"), (Kind.BACKUP, "restored"), (Kind.UNDO, "rolled_back")]
    ):
        add_receipt(data_paths(site), receipt(number, kind, outcome))
    samples = scrape(client)
    assert samples["fastcms_backup_last_success_timestamp_seconds"][()] == created.created.timestamp()
    assert samples["fastcms_backup_last_size_bytes"][()] == created.size_bytes
    assert samples["fastcms_backups"][()] == 1
    assert samples["fastcms_backups_size_bytes"][()] == created.size_bytes
    assert samples["fastcms_backup_verified_timestamp_seconds"][()] >= created.created.timestamp()
    runs = samples["fastcms_backup_runs_total"]
    assert (runs["create", "succeeded"], runs["create", "failed"], runs["create", "cancelled"]) == (1, 1, 0)
    assert runs["verify", "succeeded"] == 1
    assert samples["fastcms_backup_failures_total"] == {("create", "not_enough_space"): 1}
    assert samples["fastcms_restores_total"]["backup", "restored"] == 2
    assert samples["fastcms_restores_total"]["undo", "rolled_back"] == 1
    assert samples["fastcms_backup_reasons"]["backup_failed", "attention"] == 1
    assert samples["fastcms_backup_state"]["attention",] == 1
    assert (samples["fastcms_backup_safe"][()], samples["fastcms_backup_overdue"][()]) == (0, 0)
    assert set(samples["fastcms_metrics_errors"].values()) == {0}


def test_workers_that_cannot_share_their_numbers_on_a_full_disk_show_the_others(
    client: TestClient, site: Site, small_disk: Path
) -> None:
    requests: RequestCounts = client.app.state.requests  # type: ignore[attr-defined] # as in conftest.py
    requests._shared_path = small_disk / ".metrics/server_worker.json"
    assert requests_of(scrape(client), "POST", "/api/v1/auth/login", "2xx") == 1
    with (small_disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    samples = scrape(client)
    assert samples["fastcms_metrics_errors"]["requests",] == 1
    assert sum(samples["fastcms_metrics_errors"].values()) == 1
    (small_disk / "filler").unlink()
    assert requests_of(scrape(client), "GET", "/metrics", "2xx") == 2


def test_counters_keep_what_the_history_has_forgotten(client: TestClient, site: Site) -> None:
    add_run(site, utc_now() - timedelta(days=3000), JobState.FAILED)
    add_run(site, utc_now(), JobState.FAILED)
    assert history.count_runs(site) == 1
    assert scrape(client)["fastcms_backup_failures_total"]["create", "not_enough_space"] == 2


def test_every_metric_is_documented_and_no_other(client: TestClient, site: Site) -> None:
    text = client.get("/metrics").text
    shown = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    documented = set(
        re.findall(r"^\| `(fastcms_\w+)` \|", (REPOSITORY / "docs/deployment.md").read_text(), re.MULTILINE)
    )
    assert shown <= documented
    source = (REPOSITORY / "fastcms/metrics.py").read_text()
    assert documented == set(re.findall(r'"(fastcms_\w+)"', source))


def test_promtool_finds_nothing_to_complain_about(client: TestClient, site: Site) -> None:
    jobs.run(site, tasks.creation(site, "me"))
    client.get("/metrics")
    checked = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=client.get("/metrics").content, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_requests_are_counted_by_the_template_of_their_route(client: TestClient, site: Site) -> None:
    backup = service.create_backup(site)
    for _ in range(3):
        client.get(f"/api/v1/backups/{backup.filename}")
    client.get("/api/v1/backups/backup_20200101_000000.zip")
    client.get("/api/v1/backups/backup_20200101_000001.zip")
    client.get("/nowhere")
    client.get("/nowhere/else")
    client.get("/admin/backups")
    client.delete("/health")
    client.request("BREW", "/health")
    samples = scrape(client)
    assert requests_of(samples, "GET", "/api/v1/backups/{filename}", "2xx") == 3
    assert requests_of(samples, "GET", "/api/v1/backups/{filename}", "4xx") == 2
    assert requests_of(samples, "GET", "unmatched", "4xx") == 2
    assert requests_of(samples, "DELETE", "/health", "4xx") == 1
    assert requests_of(samples, "_OTHER", "/health", "4xx") == 1
    assert sum(requests_of(samples, "GET", "/admin/{path}", status) for status in ("2xx", "3xx")) >= 1


def test_a_download_is_counted_once_it_is_complete(client: TestClient, site: Site) -> None:
    backup = service.create_backup(site)
    path = f"/api/v1/backups/{backup.filename}/download"
    assert len(client.get(path).content) == backup.size_bytes
    labels = ("GET", "/api/v1/backups/{filename}/download", "2xx")
    samples = scrape(client)
    assert requests_of(samples, *labels) == 1
    assert samples["fastcms_http_request_duration_seconds_sum"][labels] > 0
    bucket = samples["fastcms_http_request_duration_seconds_bucket"]
    assert bucket["+Inf", *labels] == 1


def test_what_cannot_be_read_is_left_out_and_named(client: TestClient, site: Site) -> None:
    service.create_backup(site)
    path = history_path(site)
    path.unlink(missing_ok=True)
    path.mkdir()
    samples = scrape(client)
    assert samples["fastcms_metrics_errors"] == {
        ("status",): 1,
        ("runs",): 1,
        ("restores",): 0,
        ("requests",): 0,
    }
    assert samples["fastcms_backups"][()] == 1
    assert "fastcms_backup_overdue" not in samples
    assert "fastcms_backup_runs_total" not in samples


def test_ten_thousand_backups_are_counted(client: TestClient, site: Site) -> None:
    for number in range(10_000):
        created = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
        service.path_of(data_paths(site), created).touch()
    samples = scrape(client)
    assert samples["fastcms_backups"][()] == 10_000
    assert set(samples["fastcms_metrics_errors"].values()) == {0}
