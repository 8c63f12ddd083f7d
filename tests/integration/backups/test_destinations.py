"""Destinations: named by the environment or added, tried, removed; their credentials are not seen again."""

import stat
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from fastapi.testclient import TestClient
from typer.testing import CliRunner

from fastcms.backups import history, jobs, service, tasks
from fastcms.backups.alarms import find_alarms
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.copies import Copy, CopyState, save_copies
from fastcms.backups.copying import copy_missing
from fastcms.backups.destinations import destinations_problem, list_destinations
from fastcms.backups.elsewhere import add_destination, describe_elsewhere, list_states, try_destination
from fastcms.backups.folder import data_paths
from fastcms.backups.pruning import prune
from fastcms.backups.schemas import describe_list
from fastcms.backups.status import SafetyState, describe_status
from fastcms.backups.stores.base import PutResult
from fastcms.backups.stores.folder import FolderStore
from fastcms.backups.whereabouts import copies_of, look_for_copies
from fastcms.cli import app
from fastcms.config import Settings
from fastcms.database import utc_now
from fastcms.errors import StoreDeniedError, StoreFullError
from fastcms.site import Site, new_site

SECRET = "s3cret-of-the-cloud"
DESTINATIONS = "/api/v1/backups/destinations"
S3 = {
    "address": "s3://bucket/site?endpoint=http://127.0.0.1:1&keep_last=2",
    "credentials": {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": SECRET},
}


def test_an_added_destination_is_listed_with_how_it_was_found(
    client: TestClient, site: Site, far: Path
) -> None:
    added = client.post(DESTINATIONS, json={"address": f"file://{far}"})
    assert added.status_code == 200
    assert added.json()["reachable"] is None
    backup = service.create_backup(site)
    copy_missing(site)
    listed = client.get(DESTINATIONS).json()
    assert listed["total"] == 1
    found = client.get(f"{DESTINATIONS}/{added.json()['id']}").json()
    assert found == listed["items"][0]
    assert (found["place"], found["source"], found["policy"]) == (f"file://{far}", "added", None)
    assert (found["reachable"], found["copied"], found["waiting"], found["failed"]) == (True, 1, 0, 0)
    assert found["newest_copy"]["filename"] == backup.filename
    (shown,) = client.get("/api/v1/backups").json()["items"]
    assert [(copy["state"], copy["place"]) for copy in shown["copies"]] == [("copied", f"file://{far}")]
    assert client.get(f"/api/v1/backups/{backup.filename}").json()["copies"] == shown["copies"]


def test_it_is_tried_and_removed(client: TestClient, site: Site, far: Path) -> None:
    place = client.post(DESTINATIONS, json={"address": f"file://{far}"}).json()["id"]
    assert client.post(f"{DESTINATIONS}/{place}/test").json()["status"] == "ok"
    far.rmdir()
    refused = client.post(f"{DESTINATIONS}/{place}/test")
    assert (refused.status_code, refused.json()["code"]) == (502, "store_missing")
    assert client.delete(f"{DESTINATIONS}/{place}").json()["status"] == "removed"
    assert client.get(f"{DESTINATIONS}/{place}").json()["code"] == "destination_not_found"
    sentences = [entry["sentence"] for entry in client.get("/api/v1/activity").json()["items"]]
    assert any(sentence.startswith("Added file://") for sentence in sentences)
    assert any(sentence.startswith("Removed file://") for sentence in sentences)


def test_credentials_are_stored_for_the_owner_alone_and_never_shown(
    client: TestClient, site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    added = client.post(DESTINATIONS, json=S3)
    assert added.json()["has_stored_credentials"] is True
    assert added.json()["policy"]["keep_last"] == 2
    path = site.settings.backups_dir / "destinations.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRET in path.read_text()
    service.create_backup(site)
    copy_missing(site)  # nothing listens there
    tested = client.post(f"{DESTINATIONS}/{added.json()['id']}/test")
    assert tested.status_code == 502
    again = client.post(DESTINATIONS, json=S3)
    assert again.json()["code"] == "destination_exists"
    shown = [
        added.text,
        tested.text,
        again.text,
        client.get(DESTINATIONS).text,
        client.get("/api/v1/backups/status").text,
        client.get("/api/v1/backups").text,
        client.get("/metrics").text,
        client.get("/api/v1/backups/jobs").text,
        client.get("/api/v1/activity").text,
        describe_status(site).model_dump_json(),
        str(list_destinations(site)),
        "".join(capfd.readouterr()),
    ]
    backups = service.list_backups(site)
    shown += [Path(backup.path).read_bytes().decode(errors="ignore") for backup in backups]
    assert not [text for text in shown if SECRET in text]
    assert SECRET.encode() not in (site.settings.backups_dir / "history.db").read_bytes()


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"address": f"s3://key:{SECRET}@bucket"}, "invalid_input"),
        ({"address": "ftp://somewhere"}, "invalid_input"),
        ({"address": "file:///tmp", "credentials": {"AWS_SECRET_ACCESS_KEY": SECRET}}, "invalid_input"),
        ({"address": f"s3://bucket?secret={SECRET}"}, "invalid_input"),
        ({"address": "s3://bucket", "more": SECRET}, "invalid_input"),
        ({"address": "s3://bucket", "credentials": SECRET}, "invalid_input"),
    ],
)
def test_what_makes_no_sense_is_refused_without_being_repeated(
    client: TestClient, body: dict[str, object], code: str, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = client.post(DESTINATIONS, json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert SECRET not in refused.text
    assert SECRET not in "".join(capfd.readouterr())
    assert SECRET not in client.get("/api/v1/activity").text
    assert client.get(DESTINATIONS).json()["total"] == 0


def test_only_an_admin_changes_destinations(editor: TestClient, far: Path) -> None:
    assert editor.post(DESTINATIONS, json={"address": f"file://{far}"}).status_code == 403


def test_those_of_the_environment_stay_and_wrong_ones_are_told(settings: Settings, far: Path) -> None:
    given: dict[str, Any] = {
        "backup_destinations": f"file://{far} s3://key:{SECRET}@bucket file://{far}?keep_last=3"
    }
    site = new_site(Settings(_env_file=None, data_dir=settings.data_dir, **given))
    (destination,) = list_destinations(site)
    assert destination.policy is None  # the first one counts
    assert "number 2" in (destinations_problem(site) or "")
    assert SECRET not in (destinations_problem(site) or "")
    assert SECRET not in repr(site.settings)
    prepared(settings)
    result = CliRunner().invoke(
        app,
        ["backup", "destination", "remove", destination.id, "--yes", "--json"],
        env={"FASTCMS_DATA_DIR": str(settings.data_dir), "FASTCMS_BACKUP_DESTINATIONS": f"file://{far}"},
    )
    assert "destination_fixed" in result.output
    reasons = {reason.code: reason for reason in describe_status(site).reasons}
    assert "destination_invalid" in reasons


def test_a_damaged_file_of_destinations_is_told_and_stops_nothing_else(
    client: TestClient, site: Site, far: Path
) -> None:
    (site.settings.backups_dir / "destinations.json").write_text('[{"address": 5}]')
    assert client.get(DESTINATIONS).json()["problem"].startswith(str(site.settings.backups_dir))
    refused = client.post(DESTINATIONS, json={"address": f"file://{far}"})
    assert refused.json()["code"] == "destinations_unreadable"
    assert client.get("/api/v1/backups").status_code == 200


def test_an_added_address_that_no_longer_is_one_is_told(client: TestClient, site: Site, far: Path) -> None:
    client.post(DESTINATIONS, json={"address": f"file://{far}"})
    path = site.settings.backups_dir / "destinations.json"
    path.write_text(path.read_text().replace("file:", f"{SECRET}:"))
    found = client.get(DESTINATIONS).json()
    assert found["total"] == 0
    assert found["problem"].startswith(f"{path}, number 1: This is no address")
    assert SECRET not in found["problem"]


@pytest.mark.parametrize("below", ["", "backups", "backups/deeper", "files", ".."])
def test_copies_are_kept_apart_from_the_site(
    client: TestClient, site: Site, below: str, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(site.settings.data_dir / below)
    for folder in (link, (site.settings.data_dir / below).resolve()):
        refused = client.post(DESTINATIONS, json={"address": f"file://{folder}"})
        assert (refused.status_code, refused.json()["code"]) == (422, "destination_is_own_folder")
        assert refused.json()["hint"]


def test_a_destination_that_becomes_the_backups_themselves_is_not_used(
    client: TestClient, site: Site, far: Path
) -> None:
    added = client.post(DESTINATIONS, json={"address": f"file://{far}?keep_last=1"}).json()
    backups = []
    for hour in range(3):
        with time_machine.travel(utc_now() - timedelta(hours=hour), tick=False):
            backups.append(service.create_backup(site))
    far.rmdir()
    far.symlink_to(site.settings.backups_dir)
    copy_missing(site)
    assert all(Path(backup.path).exists() for backup in backups)
    found = client.get(f"{DESTINATIONS}/{added['id']}").json()
    assert (found["reachable"], found["copied"]) == (False, 0)
    assert "folders of this site" in found["reason"]


def test_one_place_is_not_added_twice_by_two_names(client: TestClient, far: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(far)
    server = "s3://bucket?endpoint=https://s3.example.com"
    for first, *others in (
        (f"file://{far}", f"file://{link}", f"file://{link}/"),
        (server, f"{server}/", f"{server}:443", server.replace("s3.example", "S3.Example")),
    ):
        assert client.post(DESTINATIONS, json={"address": first}).status_code == 200
        for other in others:
            assert client.post(DESTINATIONS, json={"address": other}).json()["code"] == "destination_exists"


def test_commands_add_try_list_and_remove(settings: Settings, far: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys.env"
    keys.write_text(f"# of the cloud\nexport AWS_ACCESS_KEY_ID=AKIA\nAWS_SECRET_ACCESS_KEY='{SECRET}'\n")
    env = {"FASTCMS_DATA_DIR": str(settings.data_dir)}

    def type_in(*words: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(app, ["backup", *words], env=env)
        assert result.exit_code == exit_code, result.output
        assert SECRET not in result.output
        return result.output

    service.create_backup(prepared(settings))
    assert "on this machine only" in type_in("destinations")
    assert "Backups are copied to" in type_in("destination", "add", f"file://{far}")
    type_in("destination", "add", "s3://bucket?endpoint=http://127.0.0.1:1", "--credentials", str(keys))
    type_in("destination", "add", "s3://other", "--credentials", str(far / "none"), exit_code=2)
    tried = type_in("destination", "test", f"file://{far}")
    assert "takes backups" in tried
    assert "on the same disk as the site" in tried
    assert "Copied backup_" in type_in("run-due", exit_code=1)  # for the other one
    told = type_in("destinations")
    assert "Newest copy: backup_" in told
    assert "Cannot be used" in told
    type_in("destination", "remove", f"file://{far}", "--yes")
    assert str(far) not in type_in("destinations")


def prepared(settings: Settings) -> Site:
    site = new_site(settings)
    site.settings.files_dir.mkdir(parents=True)
    site.settings.backups_dir.mkdir()
    site.database.migrate()
    return site


@pytest.fixture
def copied(settings: Settings, far: Path) -> Iterator[Site]:
    """A site that had a copy of its backup, and whose destination is away since."""
    given: dict[str, Any] = {"backup_destinations": f"file://{far}"}
    site = prepared(Settings(_env_file=None, data_dir=settings.data_dir, **given))
    service.create_backup(site)
    copy_missing(site)
    yield site
    site.database.close()


def codes(site: Site) -> dict[str, str]:
    return {reason.code: reason.level for reason in describe_status(site).reasons}


def test_a_destination_that_is_away_is_a_warning_at_once_and_an_alarm_after_a_day(
    copied: Site, far: Path
) -> None:
    assert codes(copied) == {}
    began = utc_now()
    far.rename(far.parent / "away")
    with time_machine.travel(began + timedelta(hours=2)):
        copy_missing(copied)
        assert codes(copied) == {"copy_refused": "warning"}  # the folder does not exist: somebody is needed
        assert [alarm.code for alarm in find_alarms(copied)] == ["copy_refused"]
    with time_machine.travel(began + timedelta(hours=30)):
        service.create_backup(copied)
        copy_missing(copied)
        assert codes(copied)["destination_unreachable"] == "attention"
        status = describe_status(copied)
        assert status.state is SafetyState.ATTENTION
        assert status.elsewhere is not None
        assert status.elsewhere.uncopied_since is not None
    with time_machine.travel(began + timedelta(hours=60)):
        service.create_backup(copied)
        assert codes(copied)["copy_missing"] == "attention"


def test_a_destination_that_takes_nothing_is_an_alarm_beside_one_that_does(
    copied: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    put = FolderStore.put

    def put_unless_full(store: FolderStore, name: str, chunks: Iterable[bytes], size_bytes: int) -> PutResult:
        if store.place.endswith("/full"):
            raise StoreFullError("The disk is full.", hint="Make space.")
        return put(store, name, chunks, size_bytes)

    monkeypatch.setattr(FolderStore, "put", put_unless_full)
    add_destination(copied, f"file://{full}", {}, "somebody")
    change_settings(copied, {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0})
    began = utc_now()
    for hours in (0, 20, 40):
        with time_machine.travel(began + timedelta(hours=hours)):
            jobs.run(copied, tasks.creation(copied, "somebody"))
            copy_missing(copied)
            prune(copied, "somebody")  # nothing that is here is older than 20 hours
            assert codes(copied).get("copy_missing") == ("attention" if hours == 40 else None)
    with time_machine.travel(began + timedelta(hours=41)):
        reasons = describe_status(copied).reasons
    (missing,) = [reason for reason in reasons if reason.code == "copy_missing"]
    assert missing.message.endswith(f"has a copy in file://{full}.")


def test_copies_that_cannot_be_removed_are_a_warning(
    copied: Site, far: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_store: FolderStore, _name: str) -> None:
        raise StoreDeniedError("It may not be removed.", hint="Allow it.")

    monkeypatch.setattr(FolderStore, "remove", refuse)
    change_settings(copied, {"keep_last": 1, "keep_daily": 0, "keep_weekly": 0, "keep_monthly": 0})
    with time_machine.travel(utc_now() + timedelta(hours=1)):
        service.create_backup(copied)
        copy_missing(copied)
        assert codes(copied) == {"copies_not_removed": "warning"}
        (state,) = list_states(copied)
        assert state.prune_error == (
            "Not all superfluous copies could be removed. It may not be removed. Allow it."
        )
        monkeypatch.undo()
        try_destination(copied, state.id)
        copy_missing(copied)
        assert codes(copied) == {}


def test_without_a_destination_there_is_a_hint_and_no_warning(settings: Settings) -> None:
    site = prepared(settings)
    service.create_backup(site)
    status = describe_status(site)
    assert status.state is SafetyState.OK
    assert status.elsewhere is not None
    assert "FASTCMS_BACKUP_DESTINATIONS" in (status.elsewhere.hint or "")


def test_metrics_tell_of_copies(client: TestClient, site: Site, far: Path) -> None:
    client.post(DESTINATIONS, json={"address": f"file://{far}"})
    service.create_backup(site)
    copy_missing(site)
    text = client.get("/metrics").text
    place = f'destination="file://{far}"'
    assert f'fastcms_backup_copies{{{place},state="copied"}} 1.0' in text
    assert f"fastcms_backup_destination_up{{{place}}} 1.0" in text
    assert f"fastcms_backup_newest_copy_timestamp_seconds{{{place}}}" in text


def test_a_list_of_many_with_their_copies_is_quick(settings: Settings) -> None:
    site = prepared(settings)
    start = utc_now().replace(microsecond=0)
    copies = []
    for number in range(10_000):
        path = service.path_of(data_paths(site), start - timedelta(seconds=number))
        path.touch()
        copies += [
            Copy(path.name, place, place, CopyState.COPIED, "2026", path.name) for place in ("one", "two")
        ]
    save_copies(site, copies)
    backups = service.list_backups(site)
    began = utc_now()
    listed = describe_list(backups, copies_of(site, backups))
    assert describe_elsewhere(site, backups, began).uncopied_since is None
    assert len(look_for_copies(site, backups[:50])) == 50
    assert (utc_now() - began).total_seconds() < 1
    assert {len(item["copies"]) for item in listed.items} == {2}
    assert history.latest_pruning(site) is None
