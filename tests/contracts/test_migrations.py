"""Models and migrations agree, and no version serves a database that it cannot read."""

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from fastcms.accounts import service as accounts
from fastcms.config import Settings
from fastcms.content import service as content
from fastcms.content.models import RECORDS_TABLE_PREFIX
from fastcms.database import _MIGRATIONS_DIR, Base, Database, known_revisions
from fastcms.errors import SchemaTooNewError
from fastcms.site import Site, new_site
from tests.e2e.conftest import clean_environment, free_port


@pytest.fixture
def fresh_site(settings: Settings) -> Site:
    settings.data_dir.mkdir()
    site = new_site(settings)
    site.database.migrate()
    return site


def schema_of(database: Database) -> list[tuple[str, str]]:
    with database.read() as session:
        rows = session.execute(sa.text("SELECT name, sql FROM sqlite_master ORDER BY name"))
        return [(name, sql) for name, sql in rows]


def pretend_newer(database: Database) -> None:
    with database.write() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()


def test_the_migrations_make_exactly_the_tables_of_the_models(fresh_site: Site) -> None:
    with fresh_site.database.read() as session:
        context = MigrationContext.configure(session.connection(), opts={"compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []
    assert "accounts" in Base.metadata.tables


def test_the_comparison_would_see_a_missing_column(fresh_site: Site) -> None:
    with fresh_site.database.write() as session:
        session.execute(sa.text("ALTER TABLE accounts DROP COLUMN created"))
        context = MigrationContext.configure(session.connection())
        assert [difference[0] for difference in compare_metadata(context, Base.metadata)] == ["add_column"]


def test_migrating_twice_changes_nothing(fresh_site: Site) -> None:
    before = schema_of(fresh_site.database)
    fresh_site.database.migrate()
    assert schema_of(fresh_site.database) == before


def test_a_database_with_content_survives_a_migration(fresh_site: Site) -> None:
    with fresh_site.database.write() as session:
        accounts.create_account(session, "admin@example.com", "correct horse battery")
        collection = content.create_collection(session, "notes", [{"name": "title", "type": "text"}])
        record = content.create_record(session, collection, {"title": "kept"})
    fresh_site.database.close()

    reopened = new_site(fresh_site.settings)
    reopened.database.migrate()

    with reopened.database.read() as session:
        assert accounts.has_admin(session)
        collection = content.find_collection(session, "notes")
        assert content.find_record(session, collection, record.id) == record
    tables = [name for name, _ in schema_of(reopened.database)]
    assert f"{RECORDS_TABLE_PREFIX}{collection.id}" in tables


def test_the_files_of_the_migrations_are_named_after_their_revisions() -> None:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS_DIR))
    assert known_revisions() == [
        script.revision for script in ScriptDirectory.from_config(config).walk_revisions()
    ]


def test_there_is_one_newest_revision(fresh_site: Site) -> None:
    with fresh_site.database.read() as session:
        assert session.scalar(sa.text("SELECT version_num FROM alembic_version")) == known_revisions()[0]


def test_a_database_of_a_newer_version_is_refused_and_left_alone(fresh_site: Site) -> None:
    pretend_newer(fresh_site.database)
    before = fresh_site.settings.database_path.read_bytes()
    reopened = new_site(fresh_site.settings)
    with pytest.raises(SchemaTooNewError, match="has schema 9999"):
        reopened.database.migrate()
    reopened.database.close()
    assert fresh_site.settings.database_path.read_bytes() == before


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(free_port())],
        [Path(sys.executable).with_name("fastcms"), "serve"],
        [Path(sys.executable).with_name("fastcms"), "token", "list"],
    ],
    ids=["uvicorn", "serve", "command"],
)
def test_a_refused_database_is_explained_in_words_without_a_traceback(
    fresh_site: Site, command: list[str]
) -> None:
    pretend_newer(fresh_site.database)
    settings = {"FASTCMS_DATA_DIR": str(fresh_site.settings.data_dir), "FASTCMS_PORT": str(free_port())}
    run = subprocess.run(
        command, env=clean_environment() | settings, capture_output=True, text=True, check=False, timeout=60
    )
    terminal = run.stdout + run.stderr
    assert run.returncode != 0
    assert "has schema 9999, which this version of FastCMS does not know" in terminal
    assert "install that version or a newer one" in terminal
    assert "Traceback" not in terminal
