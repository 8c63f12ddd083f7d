"""Restore a backup into a new site, in the browser, before it has any account."""

from asyncio import Lock
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.templating import Jinja2Templates

from fastcms import restarting
from fastcms.accounts.api import client_address
from fastcms.accounts.schemas import Caller
from fastcms.accounts.service import has_admin
from fastcms.accounts.setup_visit import (
    SETUP_COOKIE,
    SETUP_VISIT_SECONDS,
    begin_setup_visit,
    find_setup_visitor,
)
from fastcms.admin.storage_form import find_repeatable, kind_of, open_typed_store, read_fields
from fastcms.age_keys import parse_identities
from fastcms.backups import jobs, receiving, restoring, tasks
from fastcms.backups.destination_forms import Kind
from fastcms.backups.engine.pending import PendingRestore
from fastcms.backups.engine.progress import OnProgress
from fastcms.backups.fetching import Source
from fastcms.backups.job_files import Job, JobKind, JobState, list_jobs
from fastcms.backups.job_words import phases_of
from fastcms.backups.origin import Origin
from fastcms.backups.restore_preview import expected_downtime_seconds
from fastcms.backups.restore_schemas import RestoreState
from fastcms.backups.service import list_backups
from fastcms.backups.set_again import is_nobodys, note_came_back
from fastcms.backups.sources import find_given_keys, require_readable
from fastcms.backups.stored import StoredBackup, StoredBackups, find_passed_over, list_stored, suggest
from fastcms.errors import (
    ConflictError,
    FastCMSError,
    KeyRequiredError,
    StoreError,
    TooManyAttemptsError,
    status_of,
)
from fastcms.noting import note
from fastcms.pages import (
    can_be_overheard,
    form_text,
    get_site,
    in_read,
    in_thread,
    in_waiting_thread,
    in_words,
    see_other,
)
from fastcms.site import Site

_KEY = "What was typed as the key"
_NEEDS_KEY = "Fill in the field 'Key to decrypt with': the recovery sheet and the key file have it."
_HERE = "admin:setup-restore"
_FORMS = ("code", "list", "start", "cancel", "restart")
SETUP_RESTORE_ROUTES = ("setup-restore", *(f"setup-restore-{name}" for name in _FORMS))

Handler = Callable[["SetupRestore", Request, Caller], Awaitable[Response]]


def for_setup_visitors(handler: Handler) -> Callable[["SetupRestore", Request], Awaitable[Response]]:
    """Let only those in who have proved the set-up code; show what goes wrong on the page."""

    @wraps(handler)
    async def answer(page: "SetupRestore", request: Request) -> Response:
        if await in_read(request, has_admin):
            return see_other(str(request.url_for("admin:login")))
        cookie = request.cookies.get(SETUP_COOKIE)
        visitor = await in_thread(find_setup_visitor, get_site(request), cookie)
        if visitor is None:
            return page.show(request, "setup_restore_code.html")
        note(caller=visitor)
        try:
            return await handler(page, request, visitor)
        except FastCMSError as error:
            return await page.choose(request, error=error)

    return answer


class SetupRestore:
    """The pages below /setup/restore."""

    def __init__(self, templates: Jinja2Templates) -> None:
        self._templates = templates
        self._starting = Lock()

    def get_routes(self) -> list[Route]:
        handlers = (self.take_code, self.list_stored, self.start, self.cancel, self.restart)
        return [
            Route("/setup/restore", self.index, methods=["GET"], name="setup-restore"),
            *(
                Route(f"/setup/restore/{name}", handler, methods=["POST"], name=f"setup-restore-{name}")
                for name, handler in zip(_FORMS, handlers, strict=True)
            ),
        ]

    async def take_code(self, request: Request) -> Response:
        """Let whoever knows the set-up code in, for an hour."""
        if await in_read(request, has_admin):
            return see_other(str(request.url_for("admin:login")))
        code = await form_text(request, "code")
        try:
            cookie = await in_thread(begin_setup_visit, get_site(request), code, client_address(request))
        except FastCMSError as error:
            return self.show(request, "setup_restore_code.html", error=error)
        answer = see_other(str(request.url_for(_HERE)))
        answer.set_cookie(
            SETUP_COOKIE,
            cookie,
            max_age=SETUP_VISIT_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    @for_setup_visitors
    async def index(self, request: Request, _visitor: Caller) -> Response:
        return await self.choose(request)

    @for_setup_visitors
    async def list_stored(self, request: Request, _visitor: Caller) -> Response:
        return await self.choose(
            request, stored=await in_waiting_thread(_list_stored, await read_fields(request))
        )

    @for_setup_visitors
    async def start(self, request: Request, visitor: Caller) -> Response:
        """Begin to prepare the restore of a backup that is here, or that has to be fetched first."""
        site, name = get_site(request), await form_text(request, "filename")
        note(filename=name)
        is_here = await form_text(request, "is_here") == "yes"
        prepare = _task_for_local if is_here else _task_for_stored
        fields = {} if is_here else await read_fields(request)
        here = see_other(str(request.url_for(_HERE)))
        if await in_thread(_is_under_way, site):
            return here
        task = await in_waiting_thread(prepare, site, name, visitor, **fields)
        async with self._starting:  # one of several clicks
            if not await in_thread(_is_under_way, site):
                await in_thread(jobs.start, site, _unless_taken(site, task))
        return here

    @for_setup_visitors
    async def cancel(self, request: Request, _visitor: Caller) -> Response:
        pending = await in_thread(restoring.cancel_restore, get_site(request))
        note(filename=pending.backup_filename)
        return see_other(str(request.url_for(_HERE)))

    @for_setup_visitors
    async def restart(self, request: Request, visitor: Caller) -> Response:
        site = get_site(request)
        restarting.restart(site, visitor.name)
        return self.show(request, "setup_restore_waiting.html", downtime_seconds=_downtime_seconds(site))

    async def choose(
        self, request: Request, *, stored: StoredBackups | None = None, error: FastCMSError | None = None
    ) -> Response:
        """What runs, or waits for a restart, or else what could be restored."""
        site = get_site(request)
        fields = await read_fields(request) if request.method == "POST" else {}
        if error is not None and fields.get("kind") and not isinstance(error, StoreError):
            stored = await in_waiting_thread(_list_again, fields)
        latest = await in_thread(_find_latest, site)
        has_identity = site.settings.backup_identity is not None or bool(fields.get("identity"))
        before = await form_text(request, "filename") if error else ""
        newest = _find_chosen(stored, before, has_key=has_identity) if stored else None
        return self.show(
            request,
            "setup_restore.html",
            error=error,
            stored=stored,
            newest=newest,
            doubtful=_find_doubtful(stored) if stored else None,
            fields=find_repeatable(fields),
            kind=kind_of(fields.get("kind") or request.query_params.get("kind", "")),
            kinds=list(Kind),
            can_be_overheard=can_be_overheard(request),
            local=await in_thread(list_backups, site),
            restore=await in_thread(restoring.restore_status, site),
            job=latest if latest and latest.is_running else None,
            failed=latest if latest and latest.state is JobState.FAILED else None,
            upload_phases=phases_of(JobKind.UPLOAD),
            has_key=(has_key := site.settings.backup_identity is not None),
            needs_key=not (has_key or fields.get("identity")) and _holds_encrypted(stored),
            downtime_seconds=await in_thread(_downtime_seconds, site),
        )

    def show(
        self, request: Request, template: str, *, error: FastCMSError | None = None, **context: Any
    ) -> Response:
        site = get_site(request)
        if error is not None:
            note(refusal=error.message)
        headers = (
            {"Retry-After": str(error.retry_after_seconds)}
            if isinstance(error, TooManyAttemptsError)
            else None
        )
        facts = {
            "title": "Restore from a backup",
            "error": in_words(error) if error else None,
            "can_restart": restarting.can_restart(site),
            "advice": restarting.advise(site),
            "server_id": restarting.server_id(),
            "here": str(request.url_for(_HERE)),
            "states": RestoreState,
        }
        status = status_of(error)[0] if error else 200
        return self._templates.TemplateResponse(request, template, facts | context, status, headers)


def _is_under_way(site: Site) -> bool:
    latest = _find_latest(site)
    is_running = latest is not None and latest.is_running
    return is_running or restoring.restore_status(site).state is RestoreState.PENDING


def _unless_taken(site: Site, task: jobs.Task[PendingRestore]) -> jobs.Task[PendingRestore]:
    """Prepare nothing for a site that somebody has taken charge of meanwhile."""

    def work(on_progress: OnProgress) -> PendingRestore:
        pending = task.work(on_progress)
        try:
            _require_nobodys(site)
        except ConflictError:
            restoring.cancel_restore(site)
            raise
        name = pending.backup_filename
        note_came_back(site, name, receiving.find_origin(site, name))
        return pending

    return replace(task, work=work)


def _require_nobodys(site: Site) -> None:
    """Raises: ConflictError."""
    if not is_nobodys(site):
        raise ConflictError(
            "A first admin was created meanwhile, so the site stays as it is.",
            hint="Whoever is in charge now can restore the backup, on the page of backups.",
            code="already_set_up",
        )


def _task_for_local(site: Site, filename: str, visitor: Caller) -> jobs.Task[PendingRestore]:
    origin = receiving.find_origin(site, filename)
    return tasks.staging(site, filename, visitor.name, approved=origin)


def _task_for_stored(
    site: Site, object_name: str, visitor: Caller, **fields: str
) -> jobs.Task[PendingRestore]:
    keys = find_given_keys(site, fields["identity"], _KEY)
    source = Source(open_typed_store(fields), keys)
    try:
        require_readable(source, object_name)
    except KeyRequiredError as error:
        raise KeyRequiredError(error.message, hint=_NEEDS_KEY) from error

    def approve(filename: str) -> Origin | None:
        _require_nobodys(site)
        return receiving.find_origin(site, filename)

    return tasks.staging_of_fetched(site, source, object_name, visitor.name, approve=approve)


def _list_stored(fields: dict[str, str]) -> StoredBackups:
    """Raises: InvalidInputError, also for a key that is none; StoreError."""
    if fields["identity"]:
        parse_identities(fields["identity"].splitlines(), _KEY)
    return list_stored(open_typed_store(fields))


def _find_chosen(stored: StoredBackups, object_name: str, *, has_key: bool) -> StoredBackup | None:
    """What was chosen before something went wrong, or else the newest that looks right."""
    chosen = next((item for item in stored.items if item.object_name == object_name), None)
    return chosen or suggest(stored.items, has_key=has_key)


def _find_doubtful(stored: StoredBackups) -> str | None:
    """The newest one, if it is not encrypted, and older ones are."""
    encrypted = suggest(stored.items, has_key=True)
    return find_passed_over(encrypted, (item.object_name for item in stored.items)) if encrypted else None


def _holds_encrypted(stored: StoredBackups | None) -> bool:
    return stored is not None and any(item.is_encrypted for item in stored.items)


def _list_again(fields: dict[str, str]) -> StoredBackups | None:
    """What was there to choose from before something went wrong; None if that is it."""
    try:
        return list_stored(open_typed_store(fields))
    except FastCMSError:
        return None


def _find_latest(site: Site) -> Job | None:
    wanted = (JobKind.RESTORE, JobKind.FETCH)
    return next((job for job in list_jobs(site) if job.kind in wanted), None)


def _downtime_seconds(site: Site) -> int:
    return expected_downtime_seconds(site)
