"""Tables of accounts, sessions, API tokens and failed logins."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from fastcms.database import Base, UtcDateTime, new_id, utc_now


class Account(Base):
    """A person who may log in: `role` is admin or editor."""

    __tablename__ = "accounts"

    id: Mapped[str] = mapped_column(sa.String(20), primary_key=True, default=new_id)
    email: Mapped[str] = mapped_column(sa.String(320, collation="NOCASE"), unique=True)
    password_hash: Mapped[str] = mapped_column(sa.String(255))
    role: Mapped[str] = mapped_column(sa.String(10))
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class LoginSession(Base):
    """A login. Only the SHA-256 of its token is kept, and no backup contains these rows."""

    __tablename__ = "sessions"

    token_hash: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.ForeignKey(Account.id, ondelete="CASCADE"), index=True)
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    expires: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class ApiToken(Base):
    """A token for a program. `scopes` is a space-separated list; only the token's SHA-256 is kept."""

    __tablename__ = "api_tokens"

    id: Mapped[str] = mapped_column(sa.String(20), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(sa.String(100), unique=True)
    token_hash: Mapped[str] = mapped_column(sa.String(64), unique=True)
    scopes: Mapped[str] = mapped_column(sa.String(500))
    created: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    expires: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LoginFailure(Base):
    """Consecutive wrong passwords of one account or one address."""

    __tablename__ = "login_failures"

    key: Mapped[str] = mapped_column(sa.String(400), primary_key=True)
    failures: Mapped[int]
    latest: Mapped[datetime] = mapped_column(UtcDateTime)
