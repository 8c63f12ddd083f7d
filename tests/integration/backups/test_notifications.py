"""Messages and heartbeats of a real site to a real far side: who is reached, what is kept, what is shown."""

import subprocess
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from fastcms.backups import delivery, notifications
from fastcms.backups.alarms import raise_alarms
from fastcms.backups.backup_settings import change_settings
from fastcms.backups.delivery import HeartbeatSignal, Message
from fastcms.backups.history_file import history_path
from fastcms.backups.notifications import heartbeat, latest_deliveries, latest_heartbeat, send
from fastcms.backups.status import describe_status
from fastcms.backups.upkeep import run_due
from fastcms.config import LogLevel, Settings
from fastcms.logs import configure_logs
from fastcms.site import Site, make_folders, new_site
from fastcms.startup import use_site
from tests.e2e.conftest import clean_environment
from tests.far_side import FarSide, listening, refusing_host
from tests.integration.backups.test_upkeep import make_due

MESSAGE = Message("Backups need attention", "The disk is full.")
PATH = "/api/v1/backups/notifications"


@pytest.fixture
def far_side() -> Iterator[FarSide]:
    with listening() as far_side:
        yield far_side


@pytest.fixture
def quiet_site(settings: Settings) -> Site:
    """A site that no server runs."""
    configure_logs(settings)
    make_folders(settings.data_dir)
    return new_site(settings)


def tell(site: Site, *urls: str) -> None:
    change_settings(site, {"notify_urls": urls})


def test_a_message_says_which_site_it_is_about(quiet_site: Site, far_side: FarSide) -> None:
    tell(quiet_site, f"json://{far_side.host}")
    send(quiet_site, MESSAGE)
    [message] = far_side.messages
    assert message["title"].startswith("[FastCMS ")
    assert str(quiet_site.settings.data_dir) in message["message"]


def test_an_address_that_fails_keeps_no_other_from_the_message(
    quiet_site: Site, far_side: FarSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "_MESSAGE_TIMEOUT_SECONDS", 1)
    with listening() as silent:
        silent.is_silent = True
        tell(
            quiet_site, f"json://{refusing_host()}", f"json://{silent.host}?rto=60", f"json://{far_side.host}"
        )
        deliveries = send(quiet_site, MESSAGE)
    assert far_side.titles == ["Backups need attention"]
    assert [delivery.reason for delivery in deliveries] == [
        "Nothing listens at that host and port.",
        "It did not answer in time.",
        None,
    ]
    assert latest_deliveries(quiet_site) == deliveries


def test_whatever_an_address_makes_a_library_do_is_a_reason(
    quiet_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_url: str, _message: Message) -> None:
        raise ZeroDivisionError("SECRET")

    monkeypatch.setattr(notifications, "deliver", fail)
    tell(quiet_site, "json://127.0.0.1")
    [delivery] = send(quiet_site, MESSAGE)
    assert not delivery.ok
    assert "SECRET" not in str(delivery)


def test_a_server_that_stops_waits_for_nobody(quiet_site: Site, far_side: FarSide) -> None:
    far_side.is_silent = True
    tell(quiet_site, f"json://{far_side.host}?rto=60")
    quiet_site.stopping.set()
    [delivery] = send(quiet_site, MESSAGE)
    assert not delivery.ok


def test_only_addresses_in_force_have_a_latest_delivery(quiet_site: Site, far_side: FarSide) -> None:
    tell(quiet_site, f"json://{far_side.host}/1", f"json://{far_side.host}/2")
    _, second = send(quiet_site, MESSAGE)
    tell(quiet_site, f"json://{far_side.host}/2", f"json://{far_side.host}/3")
    assert latest_deliveries(quiet_site) == [second]


def test_a_heartbeat_is_called_and_how_that_went_is_kept(quiet_site: Site, far_side: FarSide) -> None:
    assert latest_heartbeat(quiet_site) is None
    change_settings(quiet_site, {"heartbeat_url": f"http://{far_side.host}/SECRET"})
    heartbeat(quiet_site, HeartbeatSignal.START)
    heartbeat(quiet_site, HeartbeatSignal.FAIL, "The disk is full.")
    assert far_side.received == [("/SECRET/start", ""), ("/SECRET/fail", "The disk is full.")]
    beat = latest_heartbeat(quiet_site)
    assert beat is not None
    assert (beat.ok, beat.signal, beat.address) == (True, "fail", f"http://{far_side.host}")


def test_a_heartbeat_that_fails_raises_nothing_and_is_remembered(quiet_site: Site) -> None:
    change_settings(quiet_site, {"heartbeat_url": f"http://{refusing_host()}/SECRET"})
    heartbeat(quiet_site, HeartbeatSignal.START)
    beat = latest_heartbeat(quiet_site)
    assert beat is not None
    assert not beat.ok
    assert "SECRET" not in str(beat)


def test_without_an_address_nothing_is_sent(quiet_site: Site) -> None:
    assert send(quiet_site, MESSAGE) == []
    heartbeat(quiet_site, HeartbeatSignal.SUCCESS)
    assert latest_heartbeat(quiet_site) is None


def test_no_secret_is_logged_kept_or_shown(
    settings: Settings, site: Site, client: TestClient, far_side: FarSide, capfd: pytest.CaptureFixture[str]
) -> None:
    configure_logs(settings.model_copy(update={"log_level": LogLevel.DEBUG}))
    tell(
        site,
        f"json://user:SECRET@{far_side.host}/SECRET?+Authorization=SECRET",
        f"json://user:SECRET@{refusing_host()}/SECRET",
        f"ntfy://user:SECRET@{far_side.host}/SECRET",
        f"mailto://user:SECRET@{refusing_host()}?to=me@example.com&from=cms@example.com",
    )
    change_settings(site, {"heartbeat_url": f"http://user:SECRET@{far_side.host}/SECRET"})
    answers = [client.post(f"{PATH}/test").text]
    far_side.status = 401
    answers.append(client.post(f"{PATH}/test").text)
    heartbeat(site, HeartbeatSignal.START)
    answers += [client.get(path).text for path in (PATH, "/api/v1/backups/status")]
    configure_logs(settings)
    logged = "".join(capfd.readouterr())
    assert "did not arrive" in logged
    assert far_side.received != []
    for text in (*answers, logged, history_path(site).read_bytes().decode(errors="replace")):
        assert "SECRET" not in text


def test_the_api_tests_every_address_and_shows_how_that_went(
    site: Site, client: TestClient, far_side: FarSide
) -> None:
    assert client.post(f"{PATH}/test").json()["code"] == "notifications_not_set"
    refusing = refusing_host()
    tell(site, f"json://{far_side.host}", f"json://{refusing}")
    change_settings(site, {"heartbeat_url": f"http://{far_side.host}"})
    tested = client.post(f"{PATH}/test").json()
    assert tested["ok"] is False
    assert [delivery["ok"] for delivery in tested["deliveries"]] == [True, False]
    assert far_side.titles == ["Notifications work"]
    shown = client.get(PATH).json()
    assert shown == {
        "addresses": [f"json://{far_side.host}", f"json://{refusing}"],
        "deliveries": tested["deliveries"],
        "success": False,
        "heartbeat_address": f"http://{far_side.host}",
        "heartbeat": None,
        "alarms": [],
    }


def test_a_backup_is_made_whether_anybody_can_be_told_or_not(
    stopped: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "PING_PAUSE_SECONDS", 0)
    site = new_site(stopped.settings)
    tell(site, f"json://{refusing_host()}")
    change_settings(site, {"notify_success": True, "heartbeat_url": f"http://{refusing_host()}"})
    with use_site(site, "a test"):
        raise_alarms(site)
        for _ in range(2):
            make_due(site)
            assert [run.state for run in run_due(site)][:2] == ["succeeded", "succeeded"]
        status = describe_status(site)
    assert status.is_safe
    assert [reason.code for reason in status.reasons] == ["notification_failed"]


def test_a_notifier_that_fails_is_a_warning_of_the_status(site: Site, client: TestClient) -> None:
    tell(site, f"json://{refusing_host()}")
    client.post(f"{PATH}/test")
    codes = [reason["code"] for reason in client.get("/api/v1/backups/status").json()["reasons"]]
    assert "notification_failed" in codes


def test_only_admins_see_and_test_addresses(editor: TestClient) -> None:
    assert editor.get(PATH).status_code == 403
    assert editor.post(f"{PATH}/test").status_code == 403


def test_the_command_says_for_each_address_whether_it_was_reached(stopped: Site, far_side: FarSide) -> None:
    folder = stopped.settings.data_dir

    refusing = refusing_host()
    tell(stopped, f"json://{far_side.host}", f"json://{refusing}")
    tested = subprocess.run(
        ["fastcms", "backup", "notify-test"],
        check=False,
        env=clean_environment() | {"FASTCMS_DATA_DIR": str(folder)},
        cwd=folder.parent,
        capture_output=True,
        text=True,
    )
    assert tested.returncode == 1
    assert tested.stdout.splitlines() == [
        f"json://{far_side.host}: sent.",
        f"json://{refusing}: Nothing listens at that host and port.",
    ]
