"""Tables of collections. Each collection's records live in a table of their own, made at run time."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from fastcms.database import Base, UtcDateTime, new_id, utc_now

RECORDS_TABLE_PREFIX = "records_"


class Collection(Base):
    """A kind of record. `fields` is the list that `schemas.Field` validates, in display order."""

    __tablename__ = "collections"

    id: Mapped[str] = mapped_column(sa.String(20), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(sa.String(64, collation="NOCASE"), unique=True)
    fields: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON)
    is_public: Mapped[bool] = mapped_column(sa.Boolean, default=False)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    updated: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, onupdate=utc_now)
