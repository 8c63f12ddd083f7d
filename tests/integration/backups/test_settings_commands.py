"""`fastcms backup settings`, `set` and `run-due`, as one types them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from fastcms.backups import history, service
from fastcms.backups.backup_settings import read_settings
from fastcms.cli import app
from fastcms.config import Settings
from fastcms.media.service import TRASH_LOCK_NAME
from fastcms.site import Site, new_site
from fastcms.startup import serve_site


@pytest.fixture(autouse=True)
def _in_the_sites_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def site(settings: Settings) -> Site:
    """A site that does not run."""
    site = new_site(settings)
    with serve_site(site):
        pass
    return new_site(settings)


def fastcms(*arguments: str, typed: str = "") -> Result:
    return CliRunner().invoke(app, ["backup", *arguments], input=typed)


def answer(*arguments: str) -> tuple[int, Any]:
    done = fastcms(*arguments, "--json")
    return done.exit_code, json.loads(done.stdout)


def make_due(site: Site) -> None:
    mark = history.read_mark(site, "schedule:backup")
    history.write_mark(site, "schedule:backup", mark | {"until": "2026-01-01T00:00:00Z"})


def test_settings_are_shown_changed_and_taken_back(site: Site) -> None:
    printed = fastcms("settings").stdout
    assert "0 2 * * *" in printed
    assert re.search(r"encrypt_to +not set ", printed)
    changed = fastcms("set", "schedule", "0 5 * * 1-5")
    assert changed.exit_code == 0
    assert "changed here" in changed.stdout
    assert changed.stdout.count("T05:00:00+00:00") == 5
    code, shown = answer("set", "schedule", "--reset")
    assert (code, shown["settings"]["schedule"], shown["changed"]) == (0, "0 2 * * *", [])


def test_addresses_may_come_from_standard_input_and_are_not_printed(site: Site) -> None:
    done = fastcms("set", "notify_urls", "-", typed="ntfy://secret-topic json://localhost\n")
    assert done.exit_code == 0
    assert "secret-topic" not in done.stdout + done.stderr
    assert read_settings(site).notify_urls == ("ntfy://secret-topic", "json://localhost")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["set", "scedule", "off"], "schedule, verify_schedule"),
        (["set", "schedule"], "--reset"),
        (["set", "keep_last", "many"], "keep_last"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(site: Site, arguments: list[str], told: str) -> None:
    done = fastcms(*arguments)
    assert done.exit_code == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_due_is_done_once(site: Site) -> None:
    first = fastcms("run-due")
    assert first.exit_code == 0, first.stderr
    assert "Nothing is due; next backup at " in first.stdout
    make_due(site)
    code, done = answer("run-due")
    (backup,) = service.list_backups(site)
    assert (code, done["busy"], backup.kind) == (0, None, "scheduled")
    assert [(run["kind"], run["backup_filename"]) for run in done["runs"]] == [
        ("create", backup.filename),
        ("verify", backup.filename),
    ]
    assert done["next_backup"].endswith("T02:00:00.000000Z")
    assert answer("run-due")[1]["runs"] == []


def test_a_backup_that_fails_is_told_and_ends_with_an_error(site: Site) -> None:
    fastcms("run-due")
    make_due(site)
    lock_path = site.settings.backups_dir / TRASH_LOCK_NAME
    lock_path.unlink(missing_ok=True)
    lock_path.mkdir()  # nobody can hold it
    failed = fastcms("run-due")
    assert failed.exit_code == 1
    assert "Error: create: failed." in failed.stderr
    assert "next backup at " in failed.stdout
    assert "Traceback" not in failed.stderr


def test_a_destination_that_cannot_be_used_is_an_error_until_it_can(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = tmp_path / "far"
    monkeypatch.setenv("FASTCMS_BACKUP_DESTINATIONS", far.as_uri())
    service.create_backup(site)
    for _ in range(2):  # the second does not even try: it is not time yet
        failed = fastcms("run-due")
        assert failed.exit_code == 1
        assert f"The folder of {far.as_uri()} does not exist." in " ".join(failed.stderr.split())
        assert "Nothing is due" not in failed.stdout
    code, answered = answer("run-due")
    assert (code, len(answered["problems"])) == (1, 1)
    far.mkdir()
    assert fastcms("destination", "test", answer("destinations")[1]["items"][0]["id"]).exit_code == 0
    code, answered = answer("run-due")
    assert (code, answered["problems"], [run["kind"] for run in answered["runs"]]) == (0, [], ["copy"])


def test_a_folder_without_a_site_is_refused(tmp_path: Path) -> None:
    for arguments in (["run-due"], ["settings"], ["set", "keep_last", "3"]):
        code, error = answer(*arguments)
        assert (code, error["code"]) == (2, "site_not_found")
    assert not (tmp_path / "data" / "app.db").exists()
