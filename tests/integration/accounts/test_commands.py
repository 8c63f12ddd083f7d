"""`fastcms admin` and `fastcms token`, as a user types them."""

import json
import re
import signal
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pexpect
import pytest

from tests.e2e.conftest import clean_environment


def fastcms(folder: Path, *words: str) -> tuple[int, str, str]:
    """Type a command; return its exit code and what it prints on standard output and standard error."""
    done = subprocess.run(
        ["fastcms", *words],
        check=False,
        cwd=folder,
        env=clean_environment() | {"FASTCMS_ADMIN_PASSWORD": "a long password"},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


def heed_interrupts() -> None:
    """Tests that were started in the background ignore Ctrl-C, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_first_admin_and_a_token_are_made_on_an_empty_folder(tmp_path: Path) -> None:
    assert fastcms(tmp_path, "admin", "create", "a@example.com")[:2] == (
        0,
        "Created the admin a@example.com.\n",
    )
    status, token, note = fastcms(
        tmp_path, "token", "create", "cron", "--scope", "backups:create", "--expires", "90d"
    )
    assert status == 0
    assert len(token.strip()) == 43
    assert "only time it is shown" in note
    [listed] = json.loads(fastcms(tmp_path, "token", "list", "--json")[1])
    assert (listed["name"], listed["scopes"]) == ("cron", ["backups:create"])
    assert [datetime.fromisoformat(listed[name]).tzinfo for name in ("created", "expires")] == [UTC, UTC]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]{15}Z", listed["expires"])
    assert token.strip() not in json.dumps(listed)
    assert fastcms(tmp_path, "token", "revoke", "cron", "--yes")[0] == 0
    assert json.loads(fastcms(tmp_path, "token", "list", "--json")[1]) == []


def test_accounts_are_listed_and_removed_but_never_the_last_admin(tmp_path: Path) -> None:
    fastcms(tmp_path, "admin", "create", "a@example.com")
    fastcms(tmp_path, "admin", "create", "e@example.com", "--role", "editor")
    assert "e@example.com  editor" in fastcms(tmp_path, "admin", "list")[1]
    status, _output, errors = fastcms(tmp_path, "admin", "remove", "a@example.com", "--yes")
    assert status == 4
    assert "only admin" in errors
    assert fastcms(tmp_path, "admin", "remove", "E@example.com", "--yes")[:2] == (
        0,
        "Removed E@example.com.\n",
    )
    assert fastcms(tmp_path, "admin", "remove", "e@example.com", "--yes")[0] == 3
    [left] = json.loads(fastcms(tmp_path, "admin", "list", "--json")[1])
    assert (left["email"], left["role"]) == ("a@example.com", "admin")


@pytest.mark.parametrize(
    "command",
    [
        "admin create a@example.com",
        "admin password a@example.com",
        "admin remove a@example.com",
        "token revoke cron",
    ],
)
def test_a_command_that_waits_for_an_answer_holds_nothing(tmp_path: Path, command: str) -> None:
    """A starting server waits for commands that have the site open."""
    terminal = pexpect.spawn(
        f"fastcms {command}",
        cwd=str(tmp_path),
        env=clean_environment(),
        encoding="utf-8",
        preexec_fn=heed_interrupts,
    )
    terminal.expect([":", "y/N"])
    assert not (tmp_path / "data").exists()
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()


def test_the_password_is_asked_for_twice_when_no_variable_has_it(tmp_path: Path) -> None:
    terminal = pexpect.spawn(
        "fastcms admin create a@example.com", cwd=str(tmp_path), env=clean_environment(), encoding="utf-8"
    )
    for _ in range(2):
        terminal.expect(":")
        terminal.sendline("a long password")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert terminal.before is not None
    assert "Created the admin a@example.com" in terminal.before
    assert "a long password" not in terminal.before


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["admin", "create", "nobody"], 2, "email"),
        (["admin", "password", "nobody@example.com"], 3, "There is no account"),
        (["token", "create", "x", "--expires", "soon"], 2, "'soon' is not a duration"),
        (["token", "create", "x", "--expires", "0d"], 2, "'0d' is not a duration"),
        (["token", "create", "x", "--scope", "everything"], 2, "everything"),
        (["token", "revoke", "x", "--yes"], 3, "There is no token named x"),
    ],
)
def test_what_does_not_fit_is_said_in_words_with_an_exit_code(
    tmp_path: Path, words: list[str], status: int, message: str
) -> None:
    code, _output, errors = fastcms(tmp_path, *words)
    assert code == status
    assert message in errors
    assert "Traceback" not in errors


def test_errors_are_json_for_programs(tmp_path: Path) -> None:
    code, output, _errors = fastcms(tmp_path, "token", "revoke", "x", "--yes", "--json")
    assert code == 3
    assert json.loads(output)["code"] == "token_not_found"


@pytest.mark.parametrize("line", ["FASTCMS_PORT=eighty", "FASTCMS_LOG_LEVEL=FOO"])
def test_a_setting_that_does_not_fit_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / ".env").write_text(f"{line}\n")
    code, _output, errors = fastcms(tmp_path, "token", "list")
    assert code == 2
    assert line.partition("=")[0] in errors
    assert "Traceback" not in errors


def test_a_data_folder_that_cannot_be_made_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, where the folder should be")
    code, _output, errors = fastcms(tmp_path, "token", "list")
    assert code == 2
    assert "data cannot be created" in errors
    assert "Traceback" not in errors
