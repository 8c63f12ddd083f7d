"""Every phase that a job may come to has words for people."""

import ast
from collections.abc import Iterator

from fastcms.backups.job_files import Job, JobKind
from fastcms.backups.job_words import describe_job, describe_phase, phases_of
from fastcms.database import utc_now
from tests.e2e.conftest import REPOSITORY


def phases_in_source() -> Iterator[str]:
    """What the program gives as a phase: to Progress, to begin and begin_last, and to the trial's reader."""
    for path in (REPOSITORY / "fastcms").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                if name in {"Progress", "begin", "begin_last"}:
                    yield from texts(node.args[:1])
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") == "phase":
                yield from texts([node.value])


def texts(nodes: list[ast.expr]) -> Iterator[str]:
    yield from (str(node.value) for node in nodes if isinstance(node, ast.Constant))


def job_of(kind: JobKind, **values: object) -> Job:
    fields = {"id": "1", "kind": kind, "state": "running", "requested_by": "anna", "backup_filename": None}
    return Job.model_validate(fields | {"process_id": 1, "started": utc_now()} | values)


def test_every_phase_of_the_program_has_words() -> None:
    found = set(phases_in_source())
    assert {"copying the database", "extracting", "reading the restored site"} <= found
    for kind in JobKind:
        assert found | {"starting"} == phases_of(kind).keys()


def test_a_restore_unpacks_what_a_verification_only_reads() -> None:
    assert "Unpacking" in describe_phase(job_of(JobKind.RESTORE, phase="extracting"))
    assert "Reading" in describe_phase(job_of(JobKind.VERIFY, phase="extracting"))


def test_a_phase_of_a_newer_version_is_shown_as_it_is() -> None:
    assert describe_phase(job_of(JobKind.CREATE, phase="thinking")) == "thinking"


def test_every_kind_of_job_says_what_it_does_and_how_it_ended() -> None:
    words = {kind: describe_job(job_of(kind, backup_filename="b.zip")) for kind in JobKind}
    assert len({described.doing for described in words.values()}) == len(JobKind)
    assert words[JobKind.CREATE].succeeded == "Created b.zip"
    assert describe_job(job_of(JobKind.CREATE)).succeeded == "The backup is complete"
    assert describe_job(job_of(JobKind.UPLOAD)).succeeded == "The archive is sound and was added"
