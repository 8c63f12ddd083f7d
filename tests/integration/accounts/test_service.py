"""Accounts, sessions, tokens and the set-up code."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from fastcms.accounts import service
from fastcms.accounts.models import ApiToken, LoginFailure, LoginSession
from fastcms.accounts.schemas import Role, Scope
from fastcms.database import utc_now
from fastcms.errors import (
    ConflictError,
    InvalidInputError,
    NotAuthenticatedError,
    PermissionDeniedError,
    TooManyAttemptsError,
)
from fastcms.site import Site
from tests.conftest import ADMIN, EDITOR, PASSWORD

NEW_PASSWORD = "another long password"


def log_in(site: Site, email: str = ADMIN, password: str = PASSWORD, address: str = "10.0.0.1") -> str:
    token, _login = service.log_in(site, email, password, address)
    return token


def test_only_hashes_of_tokens_are_stored(site: Site) -> None:
    session_token = log_in(site)
    with site.database.write() as session:
        api_token, _row = service.create_token(session, "program", [Scope.ADMIN], None)
    stored = b"".join(path.read_bytes() for path in site.settings.data_dir.glob("app.db*"))
    for token in (session_token, api_token):
        assert len(token) >= 43  # 256 bits in base64
        assert token.encode() not in stored
    assert PASSWORD.encode() not in stored


def test_a_session_knows_its_account_and_ends_after_its_time(site: Site) -> None:
    token = log_in(site, EDITOR)
    caller = service.authenticate(site.database, token)
    assert (caller.name, caller.kind) == (EDITOR, "account")
    assert caller.may(Scope.CONTENT_WRITE)
    assert not caller.may(Scope.BACKUPS_READ)
    with site.database.write() as session:
        session.execute(sa.update(LoginSession).values(expires=utc_now() - timedelta(seconds=1)))
    with pytest.raises(NotAuthenticatedError, match="expired"):
        service.authenticate(site.database, token)


def test_an_api_token_ends_after_its_time_and_when_it_is_revoked(site: Site) -> None:
    with site.database.write() as session:
        short, _row = service.create_token(session, "short", [Scope.ADMIN], timedelta(hours=1))
        lasting, _row = service.create_token(session, "lasting", [Scope.ADMIN], None)
        session.execute(
            sa.update(ApiToken)
            .where(ApiToken.name == "short")
            .values(expires=utc_now() - timedelta(seconds=1))
        )
    with pytest.raises(NotAuthenticatedError):
        service.authenticate(site.database, short)
    assert service.authenticate(site.database, lasting).name == "lasting"
    with site.database.write() as session:
        service.revoke_token(session, "lasting")
    with pytest.raises(NotAuthenticatedError):
        service.authenticate(site.database, lasting)


def test_the_last_use_of_a_token_is_recorded(site: Site) -> None:
    with site.database.write() as session:
        token, row = service.create_token(session, "program", [Scope.ADMIN], None)
    assert row.last_used is None
    service.authenticate(site.database, token)
    with site.database.read() as session:
        [row] = service.list_tokens(session)
    assert row.last_used is not None
    assert utc_now() - row.last_used < timedelta(minutes=1)


def test_a_token_that_is_revoked_while_it_is_being_checked_is_refused_and_stays_revoked(site: Site) -> None:
    with site.database.write() as session:
        token, _row = service.create_token(session, "program", [Scope.ADMIN], None)
    begun = []

    def revoke_before_the_second_transaction(_connection: sa.Connection) -> None:
        begun.append(1)
        if len(begun) == 2:
            with site.database.write() as session:
                service.revoke_token(session, "program")

    sa.event.listen(site.database._engine, "begin", revoke_before_the_second_transaction, insert=True)
    with pytest.raises(NotAuthenticatedError):
        service.authenticate(site.database, token)
    assert len(begun) >= 3
    with site.database.read() as session:
        assert service.list_tokens(session) == []


def test_a_token_is_accepted_while_somebody_else_holds_the_write_lock(site: Site) -> None:
    with site.database.write() as session:
        token, _row = service.create_token(session, "program", [Scope.ADMIN], None)
    with site.database.write():
        assert service.authenticate(site.database, token).name == "program"
    service.authenticate(site.database, token)
    with site.database.read() as session:
        assert service.list_tokens(session)[0].last_used is not None
        assert session.connection().exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 30_000


def test_two_tokens_or_accounts_of_one_name_are_refused(site: Site) -> None:
    with site.database.write() as session:
        service.create_token(session, "program", [Scope.ADMIN], None)
        with pytest.raises(ConflictError, match="already a token named program"):
            service.create_token(session, "program", [Scope.ADMIN], None)
        with pytest.raises(ConflictError, match="already an account"):
            service.create_account(session, ADMIN.upper(), NEW_PASSWORD)


@pytest.mark.parametrize(("email", "password"), [("nobody", NEW_PASSWORD), ("a@example.com", "short")])
def test_a_bad_address_or_a_short_password_is_refused_without_repeating_it(
    site: Site, email: str, password: str
) -> None:
    with site.database.write() as session, pytest.raises(InvalidInputError) as caught:
        service.create_account(session, email, password)
    assert password not in caught.value.message


def test_a_new_password_ends_the_sessions_that_the_old_one_opened(site: Site) -> None:
    token = log_in(site)
    with site.database.write() as session:
        service.set_password(session, ADMIN, NEW_PASSWORD)
    with pytest.raises(NotAuthenticatedError):
        service.authenticate(site.database, token)
    log_in(site, password=NEW_PASSWORD)
    with site.database.write() as session, pytest.raises(InvalidInputError, match="password"):
        service.set_password(session, ADMIN, "short")


def fail_to_log_in(site: Site, times: int, email: str, address: str) -> None:
    for _ in range(times):
        with pytest.raises(NotAuthenticatedError, match="email address or the password is wrong"):
            log_in(site, email, "wrong password", address)


def test_wrong_passwords_slow_down_the_account_from_every_address(site: Site) -> None:
    for number in range(5):
        fail_to_log_in(site, 1, ADMIN, f"10.0.0.{number}")
    with pytest.raises(TooManyAttemptsError) as caught:
        log_in(site, ADMIN, PASSWORD, "10.9.9.9")
    assert caught.value.retry_after_seconds >= 1
    log_in(site, EDITOR, PASSWORD, "10.9.9.9")


def test_wrong_passwords_slow_down_the_address_for_every_account(site: Site) -> None:
    for number in range(20):
        fail_to_log_in(site, 1, f"guess{number}@example.com", "10.0.0.1")
    with pytest.raises(TooManyAttemptsError):
        log_in(site, EDITOR, PASSWORD, "10.0.0.1")
    log_in(site, EDITOR, PASSWORD, "10.0.0.2")


def test_each_further_wrong_password_doubles_the_wait_up_to_a_quarter_of_an_hour(site: Site) -> None:
    waits = []
    for failures in (5, 6, 7, 30):
        with site.database.write() as session:
            session.merge(LoginFailure(key=f"account:{ADMIN}", failures=failures, latest=utc_now()))
        with pytest.raises(TooManyAttemptsError) as caught:
            log_in(site)
        waits.append(caught.value.retry_after_seconds)
    assert waits == [1, 2, 4, 900]


def test_the_wait_ends_and_a_login_clears_the_count(site: Site) -> None:
    with site.database.write() as session:
        long_ago = utc_now() - timedelta(minutes=16)
        session.add(LoginFailure(key=f"account:{ADMIN}", failures=30, latest=long_ago))
    log_in(site)
    assert failures(site) == {}


def test_a_login_takes_back_only_its_own_attempt_from_the_address(site: Site) -> None:
    """Otherwise who knows one password could guess the others without end."""
    fail_to_log_in(site, 3, ADMIN, "10.0.0.1")
    before = failures(site)["address:10.0.0.1"]
    log_in(site, EDITOR, PASSWORD, "10.0.0.1")
    assert failures(site)["address:10.0.0.1"] == before
    assert failures(site)[f"account:{ADMIN}"][0] == 3


def test_of_many_wrong_passwords_at_once_only_the_free_ones_are_checked(site: Site) -> None:
    def guess(_number: int) -> type[Exception]:
        with pytest.raises((NotAuthenticatedError, TooManyAttemptsError)) as caught:
            log_in(site, ADMIN, "wrong password")
        return caught.type

    with ThreadPoolExecutor(20) as pool:
        outcomes = Counter(pool.map(guess, range(20)))
    assert outcomes == {NotAuthenticatedError: 5, TooManyAttemptsError: 15}


def test_a_new_password_ends_the_wait_of_its_account(site: Site) -> None:
    with site.database.write() as session:
        session.add(LoginFailure(key=f"account:{ADMIN}", failures=30, latest=utc_now()))
    with site.database.write() as session:
        service.set_password(session, ADMIN.upper(), NEW_PASSWORD)
    log_in(site, password=NEW_PASSWORD)


def failures(site: Site) -> dict[str, tuple[int, datetime]]:
    with site.database.read() as session:
        return {row.key: (row.failures, row.latest) for row in session.scalars(sa.select(LoginFailure))}


def test_the_set_up_code_makes_the_first_admin_and_works_once(site: Site) -> None:
    with site.database.write() as session:
        account = service.find_account(session, ADMIN)
        assert account is not None
        account.role = Role.EDITOR
    code = service.setup_code(site)
    with pytest.raises(PermissionDeniedError, match="code is wrong"):
        service.set_up_first_admin(site, "0000-0000-0000", "new@example.com", NEW_PASSWORD, "10.0.0.1")
    typed = f" {code.upper().replace('-', '')} "
    service.set_up_first_admin(site, typed, "new@example.com", NEW_PASSWORD, "10.0.0.1")
    with pytest.raises(PermissionDeniedError, match="set up already"):
        service.set_up_first_admin(site, code, "other@example.com", NEW_PASSWORD, "10.0.0.1")


def test_guessing_the_set_up_code_is_slowed_down(site: Site) -> None:
    for number in range(5):
        with pytest.raises(PermissionDeniedError):
            service.set_up_first_admin(site, "guess", "new@example.com", NEW_PASSWORD, f"10.0.0.{number}")
    with pytest.raises(TooManyAttemptsError):
        service.set_up_first_admin(
            site, service.setup_code(site), "new@example.com", NEW_PASSWORD, "10.9.9.9"
        )
