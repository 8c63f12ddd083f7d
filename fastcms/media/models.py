"""The table of uploaded files."""

import secrets
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from fastcms.database import Base, UtcDateTime, utc_now


def new_file_id() -> str:
    """A random 128-bit id: whoever has a file's URL may read it, so nobody may guess one."""
    return secrets.token_hex(16)


class MediaFile(Base):
    """An uploaded file: `path` is its name below data/files/, `filename` what its uploader called it."""

    __tablename__ = "files"
    # The order of lists; the id decides between files of the same moment.
    __table_args__ = (sa.Index("ix_files_created", "created", "id"),)

    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True, default=new_file_id)
    path: Mapped[str] = mapped_column(sa.String(255), unique=True)
    filename: Mapped[str] = mapped_column(sa.String(255))
    content_type: Mapped[str] = mapped_column(sa.String(100))
    size_bytes: Mapped[int] = mapped_column(sa.BigInteger)
    sha256: Mapped[str] = mapped_column(sa.String(64))
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
