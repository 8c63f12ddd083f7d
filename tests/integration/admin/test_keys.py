"""The page of keys: a key is shown once, used when its sheet was shown to be kept, and found nowhere else."""

import re
from datetime import timedelta
from html import unescape
from pathlib import Path

import pytest
import time_machine
from pyrage.x25519 import Identity

from fastcms.backups.backup_settings import change_settings, read_settings
from fastcms.backups.copies import Copy, save_copies
from fastcms.database import utc_now
from fastcms.site import Site
from tests.integration.admin.conftest import Browser

KEYS = "/backups/keys"
SECRET = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{58}")
KEY, OTHER = (str(Identity.generate().to_public()) for _ in range(2))


def make(browser: Browser) -> tuple[str, dict[str, str]]:
    """The secret key, and the form that the page with it has."""
    answer = browser.send(f"{KEYS}/make", {}, KEYS)
    assert answer.headers["cache-control"] == "no-store"
    [secret] = set(SECRET.findall(answer.text))
    return secret, form_of(answer.text)


def form_of(page: str) -> dict[str, str]:
    return dict(re.findall(r'name="(public_key|proof)" value="([^"]+)"', page))


def test_a_new_key_is_used_when_its_end_was_typed_and_is_kept_nowhere(
    admin_browser: Browser, site: Site, capfd: pytest.CaptureFixture[str]
) -> None:
    secret, form = make(admin_browser)
    public_key = form["public_key"]
    assert public_key == str(Identity.from_str(secret).to_public())
    assert read_settings(site).encrypt_to == ()

    wrong = admin_browser.send(f"{KEYS}/confirm", form | {"ending": secret[-7:-1]}, KEYS)
    assert wrong.status_code == 422
    assert "The secret key on the sheet ends otherwise." in wrong.text
    assert (SECRET.findall(wrong.text), form_of(wrong.text)) == ([], form)
    assert read_settings(site).encrypt_to == ()

    ending = f" {secret[-6:-3].lower()} {secret[-3:]} "
    for _ in range(2):  # a double click
        done = admin_browser.send(f"{KEYS}/confirm", form | {"ending": ending}, KEYS)
        assert "From now on, copies leave this machine encrypted" in done.text
    assert read_settings(site).encrypt_to == (public_key,)
    assert public_key in done.text

    log = admin_browser.open("/activity").text
    assert f"Added the public key {public_key}" in unescape(log)
    assert "Tried to add the public key" in log
    assert "for the encryption of copies" in log
    kept = [path for path in site.settings.data_dir.rglob("*") if path.is_file()]
    printed = "".join(capfd.readouterr())
    for text in (secret[-40:], secret[-6:]):
        assert [path for path in kept if text.encode() in path.read_bytes()] == []
        assert text not in printed + log


def test_a_key_is_only_confirmed_with_the_proof_of_this_server(admin_browser: Browser, site: Site) -> None:
    secret, form = make(admin_browser)
    _, other_form = make(admin_browser)
    later = re.sub(r"^\d+", "2000000000", form["proof"])
    for proof in (other_form["proof"], "", "é", "9" * 400, later):
        sent = {"public_key": form["public_key"], "proof": proof, "ending": secret[-6:]}
        assert admin_browser.send(f"{KEYS}/confirm", sent, KEYS).status_code == 422
    answer = admin_browser.send(f"{KEYS}/confirm", form | {"public_key": "age1no", "ending": "x"}, KEYS)
    assert "is no public key of age" in answer.text
    assert read_settings(site).encrypt_to == ()


def test_a_key_is_confirmed_within_an_hour(admin_browser: Browser, site: Site) -> None:
    """Encryption that was turned off meanwhile is not turned on again by a page of the browser's history."""
    secret, form = make(admin_browser)
    sent = form | {"ending": secret[-6:]}
    admin_browser.send(f"{KEYS}/confirm", sent, KEYS)
    admin_browser.send(f"{KEYS}/off", {}, KEYS)
    with time_machine.travel(utc_now() + timedelta(minutes=61), tick=False):
        assert "made more than an hour ago" in admin_browser.send(f"{KEYS}/confirm", sent, KEYS).text
    assert read_settings(site).encrypt_to == ()


def test_the_new_sheet_may_show_its_style_and_has_the_secret_key(admin_browser: Browser) -> None:
    page = admin_browser.send(f"{KEYS}/make", {}, KEYS)
    nonce = re.search(r"'nonce-([^']+)'", page.headers["content-security-policy"])
    assert nonce is not None
    found = re.search(r'srcdoc="([^"]+)"', page.text)
    assert found is not None
    sheet = unescape(found[1])
    assert f'<style nonce="{nonce[1]}">' in sheet
    assert SECRET.search(sheet) is not None
    assert "<svg" in sheet  # the key to be photographed
    assert "age -d -i backup-key.txt" in re.sub(r"</?span>", "", sheet)


def test_keys_of_ones_own_are_added_and_removed_and_the_last_one_stays(
    admin_browser: Browser, site: Site
) -> None:
    page = admin_browser.send(f"{KEYS}/add", {"public_key": f" {KEY}  {OTHER} "}, KEYS)
    assert "Added 2 keys" in page.text
    assert read_settings(site).encrypt_to == (KEY, OTHER)
    again = admin_browser.send(f"{KEYS}/add", {"public_key": KEY}, KEYS)
    assert (again.status_code, "encrypted to this key already" in again.text) == (422, True)
    assert "Removed." in admin_browser.send(f"{KEYS}/remove", {"public_key": KEY}, KEYS).text
    assert (
        "Somebody else has removed it" in admin_browser.send(f"{KEYS}/remove", {"public_key": KEY}, KEYS).text
    )
    assert "This is the last key" in admin_browser.send(f"{KEYS}/remove", {"public_key": OTHER}, KEYS).text
    assert read_settings(site).encrypt_to == (OTHER,)


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (str(Identity.generate()), "is a secret key"),
        (str(Identity.generate()).lower(), "is a secret key"),
        (str(Identity.generate())[15:], "is no public key of age"),
        ("age1nonsense", "is no public key of age"),
        (" ", "There is no key."),
    ],
    ids=["secret", "secret in small letters", "its end", "nonsense", "nothing"],
)
def test_what_is_no_public_key_is_refused_and_shown_nowhere_again(
    admin_browser: Browser, site: Site, typed: str, reason: str
) -> None:
    answer = admin_browser.send(f"{KEYS}/add", {"public_key": typed}, KEYS)
    assert (answer.status_code, reason in answer.text) == (422, True)
    assert not typed.strip() or typed not in answer.text
    log = admin_browser.open("/activity").text
    assert "Tried to add a public key for the encryption of copies" in log
    assert not typed.strip() or typed not in log
    assert read_settings(site).encrypt_to == ()


def test_encryption_is_turned_off_whatever_the_environment_says(
    admin_browser: Browser, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(vars(site.settings), "backup_encrypt_to", KEY)
    assert "Copies leave this machine encrypted" in admin_browser.open(KEYS).text
    page = admin_browser.send(f"{KEYS}/off", {}, KEYS)
    assert "Encryption is off" in page.text
    assert "Nothing leaves this machine yet" in page.text
    assert read_settings(site).encrypt_to == ()
    assert "Turned off the encryption of copies" in admin_browser.open("/activity").text


def test_encryption_that_was_lost_is_told_and_can_be_turned_off(admin_browser: Browser, site: Site) -> None:
    encrypted = Copy(
        "backup_20261122_020000.zip", "aaaaaaaa", "file:///mnt", "copied", "2026-11-22T02:00:07Z", "x"
    )
    save_copies(site, [encrypted._replace(is_encrypted=True)])
    page = admin_browser.open(KEYS).text
    assert "nobody has turned encryption off" in page
    assert "Nothing is copied" in page
    page = admin_browser.send(f"{KEYS}/off", {}, KEYS).text
    assert "nobody has turned encryption off" not in page


def test_what_the_servers_own_key_opens_is_said_and_one_that_is_broken_too(
    admin_browser: Browser, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, path = Identity.generate(), tmp_path / "key.txt"
    monkeypatch.setitem(vars(site.settings), "backup_identity", path)
    change_settings(site, {"encrypt_to": [str(identity.to_public()), OTHER]})
    page = admin_browser.open(KEYS).text
    assert "own secret key cannot be used" in page
    assert "tries every copy" not in page
    path.write_text(str(identity))
    page = admin_browser.open(KEYS).text
    assert "own secret key cannot be used" not in page
    assert page.count("tries every copy") == 1
    assert str(identity) not in page


def test_the_sheet_is_printed_again_without_a_secret(admin_browser: Browser, site: Site) -> None:
    change_settings(site, {"encrypt_to": [KEY]})
    answer = admin_browser.open(f"{KEYS}/sheet")
    assert answer.headers["cache-control"] == "no-store"
    assert KEY in answer.text
    assert "Recovery sheet" in answer.text
    assert SECRET.search(answer.text) is None


def test_keys_are_for_admins(editor_browser: Browser) -> None:
    for path in (KEYS, f"{KEYS}/sheet"):
        assert editor_browser.open(path).status_code == 403


def test_who_could_be_overheard_is_told_before_a_key_is_made(admin_browser: Browser) -> None:
    page = admin_browser.open(KEYS)
    assert str(page.url).startswith("http://testserver/")
    assert "others on the way could read the" in page.text


def test_encryption_is_not_turned_off_by_taking_a_setting_back(admin_browser: Browser, site: Site) -> None:
    change_settings(site, {"encrypt_to": [KEY]})
    settings = admin_browser.open("/backups/settings").text
    assert "changed on its own page" in settings
    refused = admin_browser.send("/backups/settings/reset", {"name": "encrypt_to"}, "/backups/settings")
    assert "There is no setting" in refused.text
    assert read_settings(site).encrypt_to == (KEY,)
