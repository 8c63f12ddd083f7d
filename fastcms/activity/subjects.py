"""Where what an entry is about can be looked at, if it is still there."""

from collections.abc import Callable
from contextlib import suppress

from sqlalchemy.orm import Session
from starlette.requests import Request

from fastcms.activity.schemas import Entry
from fastcms.content import service as content
from fastcms.content.record_forms import records_key
from fastcms.errors import NotFoundError
from fastcms.media import service as media
from fastcms.pages import get_site

_Look = Callable[[Session, Request, str], str | None]


def find_links(session: Session, request: Request, entries: list[Entry]) -> dict[str, str]:
    """The address of each subject that there is."""
    links = {}
    for subject in {entry.subject for entry in entries if entry.subject}:
        kind, _, key = subject.partition(":")
        with suppress(NotFoundError, OSError):  # of a backup in a folder that cannot be read, too
            url = _LOOKS[kind](session, request, key) if kind in _LOOKS else None
            if url is not None:
                links[subject] = url
    return links


def _find_record(session: Session, request: Request, key: str) -> str:
    name, _, record_id = key.partition("/")
    collection = content.find_collection(session, name)
    record = content.find_record(session, collection, record_id)
    page = request.url_for("admin:detail", key=records_key(collection.name))
    return str(page.include_query_params(pk=record.id))


def _find_collection(session: Session, request: Request, key: str) -> str:
    collection = content.find_collection(session, key)
    return str(request.url_for("admin:list", key=records_key(collection.name)))


def _find_file(session: Session, _request: Request, key: str) -> str:
    return media.file_url(media.find_file(session, key))


def _find_backup(_session: Session, request: Request, key: str) -> str | None:
    path = get_site(request).settings.backups_dir / key
    if path.name != key or not path.is_file():
        return None
    return str(request.url_for("admin:backup-show", filename=key))


_LOOKS: dict[str, _Look] = {
    "record": _find_record,
    "collection": _find_collection,
    "file": _find_file,
    "backup": _find_backup,
}
