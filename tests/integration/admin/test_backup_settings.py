"""The page of the settings of backups: what is shown, saved, refused, tried, and never shown again."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from fastcms.backups import history, service
from fastcms.backups.backup_settings import change_settings, read_settings
from fastcms.backups.history_file import history_path
from fastcms.config import Settings
from fastcms.site import Site
from tests.far_side import FarSide, listening
from tests.integration.admin.conftest import Browser

PAGE = "/backups/settings"
DAILY = {
    "section": "schedule",
    "timezone": "UTC",
    **{f"schedule_{part}": value for part, value in {"kind": "daily", "time": "02:00"}.items()},
    **{f"verify_schedule_{part}": value for part, value in {"kind": "monthly", "time": "04:00"}.items()},
    **dict.fromkeys(("schedule_weekday", "verify_schedule_weekday"), "0"),
    **dict.fromkeys(("schedule_day", "verify_schedule_day"), "1"),
}
RULES = {
    "section": "retention",
    "keep_last": "3",
    "keep_daily": "7",
    "keep_weekly": "4",
    "keep_monthly": "12",
    "keep_yearly": "0",
    "max_total_size": "",
}


@pytest.fixture
def far_side() -> Iterator[FarSide]:
    with listening() as far_side:
        yield far_side


def send(browser: Browser, form: dict[str, Any], path: str = PAGE) -> str:
    answer = browser.send(path, form, page=PAGE)
    assert answer.status_code == 200
    return answer.text


def make_backups(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / f"backup_20260{number + 1}01_020000.zip").write_bytes(bytes(1000))


def test_a_schedule_in_plain_words_is_saved_and_told(admin_browser: Browser, site: Site) -> None:
    page = admin_browser.open(PAGE).text
    assert "Every day at 02:00 (UTC):" in page
    assert page.count("<ol") == 1
    weekly = {"schedule_kind": "weekly", "schedule_weekday": "3", "schedule_time": "21:30"}
    saved = send(admin_browser, DAILY | weekly | {"timezone": "Asia/Kolkata"})
    assert "Saved. It holds from now on." in saved
    assert "Every Wednesday at 21:30 (Asia/Kolkata):" in saved
    settings = read_settings(site)
    assert (settings.schedule, settings.timezone) == ("30 21 * * 3", "Asia/Kolkata")
    assert settings.verify_schedule == "0 4 1 * *"
    assert saved.count(", 21:30</time>") == 5
    off = send(admin_browser, DAILY | {"schedule_kind": "off", "timezone": "Asia/Kolkata"})
    assert "No backup is made by itself." in off


def test_saving_a_form_as_it_was_takes_nothing_from_the_environment(
    admin_browser: Browser, site: Site
) -> None:
    for form in (DAILY, RULES, {"section": "notifications", "heartbeat_url": ""}):
        assert "Nothing was changed: it was like this before." in send(admin_browser, form)
    assert not (site.settings.backups_dir / "settings.json").exists()
    change_settings(site, {"max_total_size": 1_234_567_890})
    send(admin_browser, RULES | {"max_total_size": "1.2 GB", "keep_last": "4"})
    assert (read_settings(site).max_total_size, read_settings(site).keep_last) == (1_234_567_890, 4)


@pytest.mark.parametrize(
    ("form", "problem"),
    [
        (DAILY | {"schedule_kind": "cron", "schedule_cron": "every <b>day"}, "is no cron expression"),
        (DAILY | {"schedule_time": "25:99"}, "A time looks like 02:00."),
        (DAILY | {"schedule_kind": "hourly"}, "Choose one of the possibilities."),
        (DAILY | {"timezone": "Mars/Base"}, "is no time zone"),
        (RULES | {"keep_last": "some"}, "A whole number is wanted, 0 or more."),
        (RULES | {"keep_last": "-1"}, "A whole number is wanted, 0 or more."),
        (RULES | {"keep_daily": "100001"}, "less than or equal to 100000"),
        (RULES | {"max_total_size": "much"}, "A size looks like 50 GB or 500 MB."),
        (RULES | {"max_total_size": "12"}, "greater than or equal to 1000000"),
        ({"section": "notifications", "heartbeat_url": "hunter2"}, "is https:// or http://"),
    ],
)
def test_what_does_not_fit_is_said_beside_its_field_and_nothing_typed_is_lost(
    looking_admin: Browser, form: dict[str, str], problem: str
) -> None:
    before = looking_admin.client.get("/api/v1/backups/settings").json()["settings"]
    beside = {"keep_weekly": "9"} if form["section"] == "retention" else {"verify_schedule_day": "17"}
    answer = looking_admin.send(PAGE, form | beside, page=PAGE)
    assert answer.status_code == 422
    assert problem in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert "<b>day" not in answer.text
    for name, value in (form | beside).items():
        if value and "kind" not in name and "timezone" not in name and "<" not in value:
            is_shown = (
                f'value="{value}"' in answer.text or f"<option selected>{value}</option>" in answer.text
            )
            assert is_shown or form["section"] == "notifications", name
    assert looking_admin.client.get("/api/v1/backups/settings").json()["settings"] == before


def test_without_a_script_a_form_is_tried_before_it_is_saved(admin_browser: Browser, site: Site) -> None:
    make_backups(site.settings.backups_dir, 5)
    tried = send(
        admin_browser,
        RULES | {"keep_last": "1", "keep_daily": "0", "keep_weekly": "0", "keep_monthly": "2"},
        f"{PAGE}/preview",
    )
    assert "3 backups would be removed (3.0 kB). 2 backups would stay (2.0 kB)." in tried
    assert "With these numbers" in tried
    assert "backup_20260101_020000.zip" in tried
    assert "Remove superfluous backups now" not in tried  # these numbers are not in force
    tried = send(admin_browser, DAILY | {"schedule_kind": "weekly"}, f"{PAGE}/preview")
    assert "Next backups, once this is saved" in tried
    assert "Every Sunday at 02:00 (UTC):" in tried
    part = send(admin_browser, DAILY | {"schedule_kind": "weekly", "only": "preview"}, f"{PAGE}/preview")
    assert "Every Sunday at 02:00 (UTC):" in part
    assert "<form" not in part
    wrong = send(admin_browser, DAILY | {"schedule_kind": "cron"}, f"{PAGE}/preview")
    assert "is no cron expression" in wrong
    assert not (site.settings.backups_dir / "settings.json").exists()
    assert len(service.list_backups(site)) == 5


def test_superfluous_backups_are_removed_only_when_asked_for_twice(
    admin_browser: Browser, site: Site
) -> None:
    assert "There is nothing to remove" in admin_browser.open(f"{PAGE}/prune").text
    make_backups(site.settings.backups_dir, 4)
    rules = {"keep_last": "1", "keep_daily": "0", "keep_weekly": "0", "keep_monthly": "0"}
    saved = send(admin_browser, RULES | rules)
    assert "Remove superfluous backups now" in saved
    asked = admin_browser.open(f"{PAGE}/prune").text
    assert "Remove 3 backups" in asked
    assert "no rule keeps it" in asked
    assert len(service.list_backups(site)) == 4
    done = admin_browser.send(f"{PAGE}/prune", {})
    assert "Removed 3 backups." in done.text
    assert [backup.filename for backup in service.list_backups(site)] == ["backup_20260401_020000.zip"]


def test_addresses_are_added_tried_and_removed_and_never_shown_again(
    admin_browser: Browser, site: Site, far_side: FarSide
) -> None:
    assert "Nobody is told." in admin_browser.open(PAGE).text
    good, bad = f"json://{far_side.host}/hunter2", "json://127.0.0.1:1/hunter3"
    for address in (bad, good):
        page = send(admin_browser, {"address": address}, f"{PAGE}/addresses")
        assert "Added." in page
        assert "hunter" not in page
    assert read_settings(site).notify_urls == (bad, good)
    tried = send(admin_browser, {}, f"{PAGE}/test")
    assert "The test message arrived at 1 of 2 addresses." in tried
    assert (
        tried.count("Nothing listens at that host and port.") == 2
    )  # in the message, and beside the address
    assert "hunter" not in tried
    page = send(admin_browser, {"position": "0", "address": "json://127.0.0.1:1"}, f"{PAGE}/addresses/remove")
    assert "is not told any more" in page
    assert read_settings(site).notify_urls == (good,)
    for position in ("0", "7", "-1", "x"):
        again = send(
            admin_browser, {"position": position, "address": "json://127.0.0.1:1"}, f"{PAGE}/addresses/remove"
        )
        assert "somebody else has changed the addresses" in again
    assert read_settings(site).notify_urls == (good,)


def test_of_two_addresses_that_look_the_same_the_right_one_is_removed(
    admin_browser: Browser, site: Site
) -> None:
    change_settings(site, {"notify_urls": ["ntfy://first-topic", "ntfy://second-topic"]})
    send(admin_browser, {"position": "0", "address": "ntfys://..."}, f"{PAGE}/addresses/remove")
    assert read_settings(site).notify_urls == ("ntfy://second-topic",)


def test_an_address_that_is_none_comes_back_as_it_was_typed(admin_browser: Browser, site: Site) -> None:
    answer = admin_browser.send(f"{PAGE}/addresses", {"address": "bob at example"}, page=PAGE)
    assert answer.status_code == 422
    assert "This is no address" in answer.text
    assert 'value="bob at example"' in answer.text
    assert read_settings(site).notify_urls == ()


def test_a_heartbeat_is_set_kept_and_removed(admin_browser: Browser, site: Site) -> None:
    form = {
        "section": "notifications",
        "heartbeat_url": "https://hc.example.com/secret-id",
        "notify_success": "on",
    }
    page = send(admin_browser, form)
    assert "https://hc.example.com</strong> is called." in page
    assert "secret-id" not in page
    send(admin_browser, {"section": "notifications", "heartbeat_url": ""})
    settings = read_settings(site)
    assert (settings.heartbeat_url, settings.notify_success) == ("https://hc.example.com/secret-id", False)
    assert "not called any more" in send(admin_browser, {}, f"{PAGE}/heartbeat/remove")
    assert read_settings(site).heartbeat_url == ""


def test_what_was_changed_goes_back_to_the_environment(admin_browser: Browser, site: Site) -> None:
    assert "Nothing is changed here so far." in admin_browser.open(PAGE).text
    page = send(admin_browser, RULES | {"keep_last": "5"})
    assert ">changed here<" in page
    page = send(admin_browser, {"name": "keep_last"}, f"{PAGE}/reset")
    assert "the environment&#39;s value holds again" in page
    assert ">changed here<" not in page
    assert read_settings(site).keep_last == 3
    assert "There is no setting" in send(admin_browser, {"name": "secret_key"}, f"{PAGE}/reset")


def test_addresses_of_the_environment_are_masked_too(tmp_path: Path) -> None:
    from fastcms.backups.shown_settings import show_settings
    from fastcms.site import new_site

    settings = Settings(
        _env_file=None,
        data_dir=tmp_path,
        notify_urls=SecretStr("mailto://me:hunter2@example.com"),
        heartbeat_url=SecretStr("https://hc.example.com/hunter2"),
        backup_max_total_size=50_000_000_000,
    )
    variables = show_settings(new_site(settings)).variables
    assert variables["notify_urls"].name == "FASTCMS_NOTIFY_URLS"
    assert variables["max_total_size"].value == "50.0 GB"
    assert variables["schedule"].name == "FASTCMS_BACKUP_SCHEDULE"
    assert "hunter2" not in str(variables)


def test_settings_can_be_changed_while_the_history_is_damaged(admin_browser: Browser, site: Site) -> None:
    history.write_mark(site, "some", "thing")
    history_path(site).write_bytes(b"no database" * 1000)
    page = admin_browser.open(PAGE)
    assert page.status_code == 200
    assert "Saved." in send(admin_browser, RULES | {"keep_last": "5"})


def test_settings_that_cannot_be_read_are_named_and_begun_anew(admin_browser: Browser, site: Site) -> None:
    (site.settings.backups_dir / "settings.json").write_text("{")
    page = admin_browser.open(PAGE).text
    assert "What was changed here is not in force" in page
    saved = send(admin_browser, RULES | {"keep_last": "5"})
    assert "not in force" not in saved
    assert read_settings(site).keep_last == 5


def test_nobody_but_an_admin_changes_anything_nor_a_form_of_another_site(
    looking_editor: Browser, looking_admin: Browser
) -> None:
    assert looking_editor.open(PAGE).status_code == 403
    assert looking_editor.send(PAGE, RULES | {"keep_last": "5"}, page="/").status_code == 403
    assert looking_admin.client.post(f"/admin{PAGE}", data=RULES | {"keep_last": "5"}).status_code == 403
    assert looking_admin.client.get("/api/v1/backups/settings").json()["settings"]["keep_last"] == 3


def test_an_unknown_form_is_a_message(looking_admin: Browser) -> None:
    for section in ("", "secrets"):
        answer = looking_admin.send(PAGE, {"section": section}, page=PAGE)
        assert answer.status_code == 422
        assert "It is not known what was to be saved." in answer.text
