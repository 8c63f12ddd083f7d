"""Somebody who has proved the set-up code of a site without an admin: they may bring a backup and restore it.

What proves it is a signed cookie, good for an hour and only until there is an admin.
"""

from itsdangerous import BadSignature, TimestampSigner

from fastcms.accounts.schemas import Caller, Scope
from fastcms.accounts.service import has_admin, prove_setup_code
from fastcms.site import Site

SETUP_COOKIE = "fastcms_setup"
SETUP_VISIT_SECONDS = 3600
_VISITOR = Caller("setup", "the set-up page", frozenset({Scope.ADMIN}))


def begin_setup_visit(site: Site, code: str, address: str) -> str:
    """The cookie for whoever knows the set-up code.

    Raises: PermissionDeniedError; TooManyAttemptsError.
    """
    prove_setup_code(site, code, address)
    return _signer(site).sign("visitor").decode()


def find_setup_visitor(site: Site, cookie: str | None) -> Caller | None:
    """The holder of a cookie that is still good; None otherwise."""
    if cookie is None:
        return None
    try:
        _signer(site).unsign(cookie, max_age=SETUP_VISIT_SECONDS)
    except BadSignature:
        return None
    with site.database.read() as session:
        return None if has_admin(session) else _VISITOR


def _signer(site: Site) -> TimestampSigner:
    return TimestampSigner(site.secret_key, salt="set-up visit")
