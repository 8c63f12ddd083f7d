"""Run the migrations on the connection that `Database.migrate` opened."""

from alembic import context

import fastcms.accounts.models
import fastcms.content.models
import fastcms.media.models  # noqa: F401 - imported for their tables
from fastcms.content.models import RECORDS_TABLE_PREFIX
from fastcms.database import Base


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Leave out the tables that collections own: they are made and altered at run time."""
    return not (kind == "table" and name is not None and name.startswith(RECORDS_TABLE_PREFIX))


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    include_name=_is_ours,
    # SQLite's DDL is transactional, but Alembic assumes otherwise; the caller's transaction is the only one.
    transactional_ddl=True,
)
context.run_migrations()
