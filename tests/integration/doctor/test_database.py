"""The doctor on the database and its journals."""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing

import pytest

from fastcms.backups import service
from fastcms.site import Site
from fastcms.sqlite import sqlite3
from fastcms.startup import serve_site, use_site
from tests.e2e.conftest import clean_environment
from tests.integration.doctor.conftest import (
    add_private_file,
    backup_path,
    change_database,
    data,
    examine_unchanged,
    found,
    message_of,
    overwrite,
)


def leave_wal(site: Site) -> None:
    """Die with a commit in the WAL."""
    program = (
        "import os, sys; from fastcms.sqlite import sqlite3\n"
        "database = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "database.execute('DELETE FROM files'); os.kill(os.getpid(), 9)"
    )
    subprocess.run(
        [sys.executable, "-c", program, site.settings.database_path], env=clean_environment(), check=False
    )


def put_another_database(site: Site) -> None:
    path = site.settings.database_path
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("CREATE TABLE theirs (id)")
    path.chmod(0o600)


def put_a_link(site: Site) -> None:
    path = site.settings.database_path
    path.rename(path.with_name("elsewhere.db"))
    path.symlink_to("elsewhere.db")


def put_a_copy_beside_a_wal(site: Site) -> None:
    leave_wal(site)
    overwrite(site.settings.database_path, 18, b"\x01\x01")


DATABASE: dict[str, tuple[Callable[[Site], object], set[str]]] = {
    "missing": (lambda site: site.settings.database_path.unlink(), {"database_missing"}),
    "empty": (lambda site: site.settings.database_path.write_bytes(b""), {"database_not_sqlite"}),
    "overwritten": (
        lambda site: overwrite(site.settings.database_path, 0, b"no database"),
        {"database_not_sqlite"},
    ),
    "damaged": (
        lambda site: overwrite(site.settings.database_path, 4096, os.urandom(40960)),
        {"database_damaged"},
    ),
    "cut off": (lambda site: os.truncate(site.settings.database_path, 20000), {"database_damaged"}),
    "inconsistent": (
        lambda site: change_database(
            site,
            "INSERT INTO sessions (token_hash, account_id, created, expires, last_used) "
            "VALUES ('a', 'nobody', '', '', '')",
        ),
        {"database_inconsistent"},
    ),
    "newer": (
        lambda site: change_database(site, "UPDATE alembic_version SET version_num = '9999'"),
        {"schema_too_new"},
    ),
    "another program's": (put_another_database, {"database_not_fastcms"}),
    "a link": (put_a_link, {"database_is_link"}),
    "a copy": (lambda site: overwrite(site.settings.database_path, 18, b"\x01\x01"), {"database_copied"}),
    "a copy beside a WAL": (put_a_copy_beside_a_wal, {"journal_foreign"}),
    "beside a rollback journal": (
        lambda site: add_private_file(data(site, "app.db-journal")),
        {"journal_foreign"},
    ),
    "beside a kept journal": (
        lambda site: add_private_file(data(site, "app.db-wal.foreign-20250115_100000")),
        {"journal_kept"},
    ),
}


@pytest.mark.parametrize("name", DATABASE)
def test_what_is_wrong_with_the_database_is_found(stopped: Site, name: str) -> None:
    breaks, expected = DATABASE[name]
    breaks(stopped)
    assert found(stopped) == expected


def test_what_a_killed_server_left_in_the_wal_is_read_and_left_there(stopped: Site) -> None:
    leave_wal(stopped)
    assert found(stopped) == {"file_without_row"}


def test_a_wal_without_its_index_is_not_touched(stopped: Site) -> None:
    leave_wal(stopped)
    (stopped.settings.data_dir / "app.db-shm").unlink()
    assert found(stopped) == {"database_unchecked"}


def lose_the_database(site: Site) -> None:
    """The disk of app.db fails, and somebody starts the server: it makes an empty site."""
    site.settings.database_path.unlink()
    with serve_site(site):
        pass


def test_an_empty_database_beside_a_backup_with_accounts_is_called_a_lost_one(stopped: Site) -> None:
    lose_the_database(stopped)
    assert found(stopped) == {"database_empty", "file_without_row"}
    finding = next(f for f in examine_unchanged(stopped).findings if f.code == "database_empty")
    assert f"fastcms backup restore {backup_path(stopped).name}" in finding.hint


def test_backups_of_the_empty_site_do_not_hide_the_one_to_restore(stopped: Site) -> None:
    wanted = backup_path(stopped).name
    lose_the_database(stopped)
    with use_site(stopped):
        service.create_backup(stopped)
    assert wanted in message_of(stopped, "database_empty")


def test_an_empty_database_beside_unknown_files_is_called_a_lost_one(stopped: Site) -> None:
    backup_path(stopped).unlink()
    lose_the_database(stopped)
    assert found(stopped) == {"database_empty", "file_without_row", "backup_none"}
    finding = next(f for f in examine_unchanged(stopped).findings if f.code == "file_without_row")
    assert "Keep them" in finding.hint
    assert "Delete" not in finding.hint


def test_a_new_site_with_a_backup_of_itself_is_healthy(stopped: Site) -> None:
    """Whose nightly backup came before its first admin."""
    backup_path(stopped).unlink()
    change_database(stopped, "DELETE FROM accounts")
    with use_site(stopped):
        service.create_backup(stopped)
    assert found(stopped) == set()


def test_what_sqlite_says_of_damage_is_on_one_line(stopped: Site) -> None:
    overwrite(stopped.settings.database_path, 4096, os.urandom(40960))
    message = message_of(stopped, "database_damaged")
    assert "\n" not in message
    assert "\N{REPLACEMENT CHARACTER}" not in message
