"""The dashboard's page of the settings of backups: when they are made, which are kept, and who is told."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from zoneinfo import available_timezones

from starlette.requests import Request
from starlette.responses import Response
from starlette_admin import route

from fastcms.backups import notifications, pruning
from fastcms.backups.folder import try_to_see
from fastcms.backups.notifications import TriedAddresses
from fastcms.backups.schedule_choice import LAST_DAY, WEEKDAYS, in_words
from fastcms.backups.settings_forms import SECTIONS, fill_in, save_form
from fastcms.backups.shown_settings import (
    add_address,
    change_shown_settings,
    find_next_runs,
    remove_address,
    show_settings,
)
from fastcms.database import utc_now
from fastcms.errors import InvalidInputError
from fastcms.pages import (
    Page,
    errors_as_messages,
    form_text,
    get_site,
    get_visitor,
    in_thread,
    read_form,
    see_other,
    show_message,
)
from fastcms.site import Site

_PATH = "/settings"
_NAMES = {
    "schedule": "Schedule of backups",
    "verify_schedule": "Schedule of verifications",
    "timezone": "Time zone",
    "keep_last": "Newest backups kept",
    "keep_daily": "Days kept",
    "keep_weekly": "Weeks kept",
    "keep_monthly": "Months kept",
    "keep_yearly": "Years kept",
    "max_total_size": "Most space for backups",
    "copy_limit": "Bytes a second for copies",
    "encrypt_to": "Public keys that copies are encrypted to",
    "notify_urls": "Addresses that are told",
    "notify_success": "Tell of successes, too",
    "heartbeat_url": "Heartbeat",
}
# Changed on pages of their own. Nobody turns encryption off by taking a setting back.
_ELSEWHERE = {"encrypt_to": "admin:backup-keys"}
_LISTED_BACKUPS = 100
# Forms of which a part tells what they would change, while they are filled in.
_PREVIEWED = ("schedule", "retention")


class SettingsPage(Page):
    path = "/backups"
    route_name = "backup-settings"

    def title(self, request: Request) -> str:  # noqa: ARG002 - starlette-admin asks with it
        return "Backup settings"

    @route(_PATH, name="backup-settings-show")
    async def index(self, request: Request) -> Response:
        return await self._show(request)

    @route(_PATH, methods=["POST"], name="backup-settings-change")
    async def change(self, request: Request) -> Response:
        """Change what one form has; where something makes no sense, it comes back as it was typed."""
        site, section, sent = get_site(request), await _section(request), await _sent(request)
        try:
            is_changed = await in_thread(save_form, site, section, sent, get_visitor(request).name)
        except InvalidInputError as error:
            return await self._show(request, section, sent, error)
        message = (
            "Saved. It holds from now on." if is_changed else "Nothing was changed: it was like this before."
        )
        return self._done(request, message, section)

    @route(f"{_PATH}/preview", methods=["POST"], name="backup-settings-preview")
    async def preview(self, request: Request) -> Response:
        """Show what a form would change, and change nothing."""
        section, sent = await _section(request), await _sent(request)
        if sent.get("only") != "preview" or section not in _PREVIEWED:
            return await self._show(request, section, sent)
        found = await in_thread(_look, get_site(request), section, sent)
        return self.render(request, f"_preview_{section}.html", **found)

    @route(f"{_PATH}/reset", methods=["POST"], name="backup-settings-reset")
    @errors_as_messages
    async def reset(self, request: Request) -> Response:
        """Go back to what the environment says."""
        name = await form_text(request, "name")
        if name not in _NAMES or name in _ELSEWHERE:
            raise InvalidInputError(f"There is no setting {name[:100]!r}.", hint="Load the page anew.")
        await in_thread(change_shown_settings, get_site(request), {name: None}, get_visitor(request).name)
        return self._done(request, f"{_NAMES[name]}: the environment's value holds again.", "origins")

    @route(f"{_PATH}/addresses", methods=["POST"], name="backup-settings-add-address")
    async def add(self, request: Request) -> Response:
        address = await form_text(request, "address")
        try:
            await in_thread(add_address, get_site(request), address, get_visitor(request).name)
        except InvalidInputError as error:
            return await self._show(request, "notifications", {"address": address}, error)
        return self._done(request, "Added. Send a test message to see whether it arrives.", "notifications")

    @route(f"{_PATH}/addresses/remove", methods=["POST"], name="backup-settings-remove-address")
    @errors_as_messages
    async def remove(self, request: Request) -> Response:
        position, masked = await form_text(request, "position"), await form_text(request, "address")
        where = int(position) if position.isdecimal() and len(position) < len("1000") else -1
        await in_thread(remove_address, get_site(request), where, masked, get_visitor(request).name)
        return self._done(request, f"{masked} is not told any more.", "notifications")

    @route(f"{_PATH}/heartbeat/remove", methods=["POST"], name="backup-settings-remove-heartbeat")
    @errors_as_messages
    async def remove_heartbeat(self, request: Request) -> Response:
        changes = {"heartbeat_url": ""}
        await in_thread(change_shown_settings, get_site(request), changes, get_visitor(request).name)
        return self._done(request, "The heartbeat is not called any more.", "notifications")

    @route(f"{_PATH}/test", methods=["POST"], name="backup-settings-test")
    @errors_as_messages
    async def test(self, request: Request) -> Response:
        """Send a test message to everybody, which takes half a minute at most."""
        site = get_site(request)
        tried = await in_thread(notifications.try_addresses, site, get_visitor(request).name)
        show_message(request, _tell_tried(tried), "success" if tried.ok else "warning")
        return see_other(f"{self.url(request, _PATH)}#notifications")

    @route(f"{_PATH}/prune", name="backup-settings-prune-show")
    async def show_prune(self, request: Request) -> Response:
        """Ask before anything is removed."""
        plan = await in_thread(pruning.describe_retention, get_site(request))
        going = [item for item in plan.items if not item.keep]
        return self.render(
            request,
            "backup_prune.html",
            title="Remove superfluous backups",
            plan=plan,
            going=going[:_LISTED_BACKUPS],
            going_count=len(going),
        )

    @route(f"{_PATH}/prune", methods=["POST"], name="backup-settings-prune")
    @errors_as_messages
    async def prune(self, request: Request) -> Response:
        pruned = await in_thread(pruning.prune, get_site(request), get_visitor(request).name)
        if pruned.failed:
            reasons = " ".join(pruned.failed.values())
            show_message(request, f"{len(pruned.failed)} could not be removed. {reasons}", "error")
        count = len(pruned.removed)
        message = (
            f"Removed {count} backup{'' if count == 1 else 's'}." if count else "There was nothing to remove."
        )
        return self._done(request, message, "retention")

    def url(self, request: Request, path: str = _PATH) -> str:
        """Errors lead back to the settings, too."""
        return super().url(request, path)

    def _done(self, request: Request, message: str, section: str) -> Response:
        show_message(request, message, "success")
        return see_other(f"{self.url(request, _PATH)}#{section}")

    async def _show(
        self,
        request: Request,
        section: str = "",
        sent: Mapping[str, str] | None = None,
        error: InvalidInputError | None = None,
    ) -> Response:
        found = await in_thread(_look, get_site(request), section, sent or {}, error)
        # What cannot be previewed is no error of the request: nothing was to be changed.
        return self.render(request, "backup_settings.html", status=422 if error else 200, **found)


def _look(
    site: Site, section: str, sent: Mapping[str, str], error: InvalidInputError | None = None
) -> dict[str, Any]:
    """All that the page shows: what is in force, and what was typed and is not yet."""
    form = fill_in(site, section, sent, error)
    tried, shown = form.tried, show_settings(site)
    return form._asdict() | {
        "shown": shown,
        "section": section,
        "next_runs": find_next_runs(tried, utc_now()),
        "schedule_words": in_words(tried.schedule),
        "verify_words": in_words(tried.verify_schedule),
        "tried_timezone": tried.timezone,
        "retention": try_to_see(pruning.describe_retention, site, tried),
        "addresses": try_to_see(notifications.known_addresses, site),
        "heartbeat_address": shown.settings.heartbeat_url,
        "heartbeat": try_to_see(notifications.latest_heartbeat, site),
        "names": _NAMES,
        "changed_elsewhere": _ELSEWHERE,
        "weekdays": WEEKDAYS,
        "last_day": LAST_DAY,
        "timezones": _timezones(),
        "backups_dir": site.settings.backups_dir.absolute(),
        "metrics_public": site.settings.metrics_public,
    }


@lru_cache(maxsize=1)
def _timezones() -> Sequence[str]:
    return sorted(name for name in available_timezones() if "/" in name or name == "UTC")


async def _section(request: Request) -> str:
    """Which of the page's forms was sent. Raises: InvalidInputError."""
    section = await form_text(request, "section")
    if section not in SECTIONS:
        raise InvalidInputError("It is not known what was to be saved.", hint="Load the page anew.")
    return section


async def _sent(request: Request) -> dict[str, str]:
    form = await read_form(request)
    return {name: value.strip() for name, value in form.items() if isinstance(value, str)}


def _tell_tried(tried: TriedAddresses) -> str:
    arrived = sum(delivery.ok for delivery in tried.deliveries)
    failed = [f"{one.address}: {one.reason}" for one in tried.deliveries if not one.ok]
    told = f"The test message arrived at {arrived} of {len(tried.deliveries)} addresses."
    return " ".join([told, *failed])
