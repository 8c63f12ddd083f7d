"""What the accounts API takes and gives."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, EmailStr, Field


class Role(StrEnum):
    ADMIN = "admin"
    EDITOR = "editor"


class Scope(StrEnum):
    """What a caller may do; `_INCLUDES` has what comes with it."""

    ADMIN = "admin"
    CONTENT_READ = "content:read"
    CONTENT_WRITE = "content:write"
    BACKUPS_READ = "backups:read"
    BACKUPS_CREATE = "backups:create"
    METRICS_READ = "metrics:read"


ROLE_SCOPES = {
    Role.ADMIN: frozenset(Scope),
    Role.EDITOR: frozenset({Scope.CONTENT_READ, Scope.CONTENT_WRITE}),
}


# Changing a record shows it. Making a backup shows nothing of the others.
_INCLUDES = {Scope.ADMIN: frozenset(Scope), Scope.CONTENT_WRITE: frozenset({Scope.CONTENT_READ})}


CallerKind = Literal["account", "token", "setup"]


@dataclass(frozen=True)
class Caller:
    """Who is asking: an account by its session, a program by its API token, or who sets up the site."""

    kind: CallerKind
    name: str
    scopes: frozenset[Scope]
    account_id: str | None = None

    def may(self, scope: Scope) -> bool:
        return any(scope == held or scope in _INCLUDES.get(held, ()) for held in self.scopes)


class LoginRequest(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    email: str = Field(max_length=320)
    password: str = Field(max_length=1000)


class LoginResponse(BaseModel):
    access_token: str
    token_type: Literal["bearer"] = "bearer"
    expires: datetime


class CallerResponse(BaseModel):
    """The caller: an account's email or a token's name."""

    kind: CallerKind
    name: str
    scopes: list[Scope]


class NewAccount(BaseModel):
    """An account to be made."""

    model_config = ConfigDict(hide_input_in_errors=True)

    email: EmailStr
    password: str = Field(min_length=10, max_length=1000)
    role: Role = Role.ADMIN
