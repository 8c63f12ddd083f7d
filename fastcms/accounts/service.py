"""Accounts, sessions and API tokens."""

import hashlib
import hmac
import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NoReturn

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from fastcms.accounts.models import Account, ApiToken, LoginSession
from fastcms.accounts.passwords import hash_password, is_password_right
from fastcms.accounts.schemas import ROLE_SCOPES, Caller, NewAccount, Role, Scope
from fastcms.accounts.throttle import account_key, count_attempt, forget_failures, undo_attempt
from fastcms.database import Database, utc_now
from fastcms.errors import (
    ConflictError,
    InvalidInputError,
    NotAuthenticatedError,
    NotFoundError,
    PermissionDeniedError,
)
from fastcms.noting import note
from fastcms.site import Site

# Writing a row at every request would make every reader a writer.
_LAST_USED_PRECISION = timedelta(minutes=1)


def create_account(session: Session, email: str, password: str, role: Role = Role.ADMIN) -> Account:
    """Create an account.

    Raises: InvalidInputError for a bad address or a short password; ConflictError when it exists.
    """
    new = _validate(email, password, role)
    if find_account(session, new.email) is not None:
        raise ConflictError(
            f"There is already an account for {new.email}.",
            hint="`fastcms admin password EMAIL` sets a new password.",
            code="account_exists",
        )
    account = Account(email=new.email, password_hash=hash_password(password), role=role)
    session.add(account)
    session.flush()
    return account


def find_account(session: Session, email: str) -> Account | None:
    return session.scalar(sa.select(Account).where(Account.email == email))


def list_accounts(session: Session) -> list[Account]:
    return list(session.scalars(sa.select(Account).order_by(Account.email)))


def delete_account(session: Session, email: str) -> None:
    """Delete an account; its sessions end with it.

    Raises: NotFoundError; ConflictError for the last admin, without whom nobody could manage the site.
    """
    account = find_account(session, email)
    if account is None:
        raise NotFoundError(f"There is no account for {email}.", code="account_not_found")
    others = sa.select(Account.id).where(Account.role == Role.ADMIN, Account.id != account.id)
    if session.scalar(others.limit(1)) is None:
        raise ConflictError(
            f"{email} is the only admin.", hint="Create another admin first.", code="last_admin"
        )
    session.delete(account)


def has_admin(session: Session) -> bool:
    return session.scalar(sa.select(Account.id).where(Account.role == Role.ADMIN).limit(1)) is not None


def set_password(session: Session, email: str, password: str) -> None:
    """Set a new password, end the account's sessions and forget its wrong passwords.

    Raises: NotFoundError; InvalidInputError for a short password.
    """
    account = find_account(session, email)
    if account is None:
        raise NotFoundError(f"There is no account for {email}.", code="account_not_found")
    _validate(account.email, password, Role(account.role))
    account.password_hash = hash_password(password)
    session.execute(sa.delete(LoginSession).where(LoginSession.account_id == account.id))
    forget_failures(session, account_key(account.email))


def log_in(site: Site, email: str, password: str, address: str) -> tuple[str, LoginSession]:
    """Open a session; the token is returned once and only its hash is kept.

    Raises: NotAuthenticatedError; TooManyAttemptsError after repeated wrong passwords for this account or
    from this address.
    """
    note(email=email, address=address)
    attempt = count_attempt(site.database, account_key(email), address)
    with site.database.read() as session:
        account = find_account(session, email)
    if not is_password_right(account.password_hash if account else None, password) or account is None:
        _refuse_credentials()
    token = _new_token()
    now = utc_now()
    login = LoginSession(
        token_hash=_hash_token(token),
        account_id=account.id,
        created=now,
        expires=now + timedelta(hours=site.settings.session_hours),
        last_used=now,
    )
    with site.database.write() as session:
        # Meanwhile the account may have been deleted, or got another password.
        if (current := session.get(Account, account.id)) is None or (
            current.password_hash != account.password_hash
        ):
            _refuse_credentials()
        undo_attempt(session, attempt)
        session.execute(sa.delete(LoginSession).where(LoginSession.expires < now))
        session.add(login)
    note(logged_in=True, email=account.email)
    return token, login


def confirm_password(site: Site, caller: Caller, password: str, address: str) -> None:
    """Make sure that a caller is the account's owner, and nobody who found their token.

    Raises: PermissionDeniedError; TooManyAttemptsError, as for a login.
    """
    with site.database.read() as session:
        account = session.get(Account, caller.account_id) if caller.account_id else None
    if account is None:
        raise PermissionDeniedError(
            f"This needs a password, and {caller.name} is an API token, which has none.",
            hint="Log in with an admin's email and password, and use that login's token.",
            code="login_required",
        )
    attempt = count_attempt(site.database, account_key(account.email), address)
    if not is_password_right(account.password_hash, password):
        raise PermissionDeniedError(
            "The password is wrong.", hint=f"Give the password of {account.email}.", code="wrong_password"
        )
    with site.database.write() as session:
        undo_attempt(session, attempt)


def count_logged_in(session: Session) -> int:
    """How many accounts have a login that has not ended."""
    accounts = sa.select(LoginSession.account_id).where(LoginSession.expires > utc_now()).distinct()
    return session.scalar(sa.select(sa.func.count()).select_from(accounts.subquery())) or 0


def log_out(session: Session, token: str) -> None:
    session.execute(sa.delete(LoginSession).where(LoginSession.token_hash == _hash_token(token)))


def authenticate(database: Database, token: str) -> Caller:
    """Find out who holds a token.

    Raises: NotAuthenticatedError when it is unknown, revoked or has expired.
    """
    token_hash = _hash_token(token)
    now = utc_now()
    with database.read() as session:
        found = session.execute(
            sa.select(LoginSession, Account).join(Account).where(LoginSession.token_hash == token_hash)
        ).first()
        holder: LoginSession | ApiToken | None = found[0] if found else None
        if found:
            account = found[1]
            caller = Caller("account", account.email, ROLE_SCOPES[Role(account.role)], account.id)
        else:
            holder = session.scalar(sa.select(ApiToken).where(ApiToken.token_hash == token_hash))
            if holder is not None:
                caller = Caller("token", holder.name, frozenset(Scope(s) for s in holder.scopes.split()))
    if holder is None or (holder.expires is not None and holder.expires <= now):
        _refuse_token()
    if holder.last_used is None or now - holder.last_used > _LAST_USED_PRECISION:
        _note_use(database, type(holder), token_hash, now)
    return caller


def _note_use(
    database: Database, table: type[LoginSession | ApiToken], token_hash: str, now: datetime
) -> None:
    """Record a token's use, if that can be done now.

    Reading must not wait for somebody else's write, nor fail on a full disk.
    """
    with database.read() as session:
        connection = session.connection()
        timeout = connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one()
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")
        try:
            noted = connection.execute(
                sa.update(table).where(table.token_hash == token_hash).values(last_used=now)
            )
        except DBAPIError:
            return
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {timeout}")
        with suppress(DBAPIError):
            session.commit()
    if noted.rowcount == 0:  # revoked since it was read
        _refuse_token()


def create_token(
    session: Session, name: str, scopes: list[Scope], expires_after: timedelta | None
) -> tuple[str, ApiToken]:
    """Create an API token; the token is returned once and only its hash is kept.

    Raises: InvalidInputError; ConflictError when the name is taken.
    """
    if not name.strip() or len(name) > ApiToken.name.type.length:
        raise InvalidInputError("A token's name has 1 to 100 characters.")
    if session.scalar(sa.select(ApiToken.id).where(ApiToken.name == name)) is not None:
        raise ConflictError(
            f"There is already a token named {name}.",
            hint=f"Choose another name, or remove it with `fastcms token revoke {name}`.",
            code="token_exists",
        )
    token = _new_token()
    row = ApiToken(
        name=name,
        token_hash=_hash_token(token),
        scopes=" ".join(scopes),
        expires=utc_now() + expires_after if expires_after else None,
    )
    session.add(row)
    session.flush()
    return token, row


def list_tokens(session: Session) -> list[ApiToken]:
    return list(session.scalars(sa.select(ApiToken).order_by(ApiToken.created)))


def revoke_token(session: Session, name: str) -> None:
    row = session.scalar(sa.select(ApiToken).where(ApiToken.name == name))
    if row is None:
        raise NotFoundError(f"There is no token named {name}.", code="token_not_found")
    session.delete(row)


def setup_code(site: Site) -> str:
    """The code that proves, on the set-up page, that one can read the server's terminal.

    It follows from the data folder's secret, so that all workers print the same one; it works only until
    the first admin exists.
    """
    digest = hmac.new(site.secret_key.encode(), b"set-up code", hashlib.sha256).hexdigest()
    return f"{digest[:4]}-{digest[4:8]}-{digest[8:12]}"


def set_up_first_admin(site: Site, code: str, email: str, password: str, address: str) -> None:
    """Create the first admin, for whoever knows the set-up code.

    Raises: PermissionDeniedError for a wrong code or when there is an admin already;
    TooManyAttemptsError; InvalidInputError.
    """
    prove_setup_code(site, code, address)
    with site.database.write() as session:
        _require_no_admin(session)
        create_account(session, email, password, Role.ADMIN)


def prove_setup_code(site: Site, code: str, address: str) -> None:
    """Make sure that somebody can read the server's terminal, and that there is no admin yet.

    Raises: PermissionDeniedError; TooManyAttemptsError.
    """
    note(address=address)
    attempt = count_attempt(site.database, "set-up", address)
    if not hmac.compare_digest(_bare(code).encode(), _bare(setup_code(site)).encode()):
        raise PermissionDeniedError(
            "The set-up code is wrong.",
            hint="The server printed it when it started.",
            code="setup_code_wrong",
        )
    with site.database.write() as session:
        undo_attempt(session, attempt)  # by itself: the code was right, whatever becomes of the account
    with site.database.read() as session:
        _require_no_admin(session)


def _bare(code: str) -> str:
    """A set-up code without what one may leave out when one types it."""
    return "".join(code.lower().replace("-", " ").split())


def _require_no_admin(session: Session) -> None:
    if has_admin(session):
        raise PermissionDeniedError("This site has been set up already.", hint="Log in.", code="setup_done")


def _validate(email: str, password: str, role: Role) -> NewAccount:
    try:
        return NewAccount(email=email, password=password, role=role)
    except ValidationError as error:
        problems = [{"field": str(p["loc"][0]), "message": p["msg"]} for p in error.errors()]
        raise InvalidInputError(
            "; ".join(f"{p['field']}: {p['message']}" for p in problems), errors=problems
        ) from error


def _new_token() -> str:
    return secrets.token_urlsafe(32)


def _hash_token(token: str) -> str:
    # A fast hash suffices: 256 random bits cannot be guessed.
    return hashlib.sha256(token.encode()).hexdigest()


def _refuse_credentials() -> NoReturn:
    raise NotAuthenticatedError(
        "The email address or the password is wrong.",
        hint="`fastcms admin password EMAIL` on the server sets a new password.",
        code="wrong_credentials",
    )


def _refuse_token() -> NoReturn:
    raise NotAuthenticatedError(
        "The token is unknown or has expired.",
        hint="Log in again, or create a new token.",
        code="token_invalid",
    )
