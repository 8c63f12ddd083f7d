"""Tell people and monitors of backups, and remember who was reached. Who was not reached stops nothing."""

import hashlib
import hmac
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from threading import Thread
from typing import Any

from pydantic import BaseModel

from fastcms.backups import history
from fastcms.backups.backup_settings import read_settings
from fastcms.backups.delivery import (
    NOT_IN_TIME,
    PING_PAUSE_SECONDS,
    PING_TIMEOUT_SECONDS,
    HeartbeatSignal,
    Message,
    deliver,
    explain,
    mask,
    mask_web,
    ping,
)
from fastcms.backups.folder import explained
from fastcms.database import utc_now
from fastcms.errors import ConflictError
from fastcms.logs import get_logger
from fastcms.site import Site

_MESSAGE_TIMEOUT_SECONDS = 30
_POLL_SECONDS = 0.05
_MARK = "notifications"
_HEARTBEAT_MARK = "heartbeat"


class Delivery(BaseModel):
    """How sending to one address has ended; the address is masked."""

    address: str
    ok: bool
    when: datetime
    reason: str | None = None


class TriedAddresses(BaseModel):
    """How a test message went to each address; `ok` if it reached all."""

    ok: bool
    deliveries: list[Delivery]


class KnownAddress(BaseModel):
    """Somebody who is told, masked, and how the latest message to them went; None if there was none."""

    address: str
    latest: Delivery | None


class Heartbeat(Delivery):
    """How the latest call of the heartbeat's address has ended."""

    signal: HeartbeatSignal


def send(site: Site, message: Message) -> list[Delivery]:
    """Send a message to every address at the same time, and remember how that went. Never raises.

    It takes half a minute at most: an address that needs longer has failed, though it may still succeed.
    """
    urls = read_settings(site).notify_urls
    signed = _sign(site, message)
    reasons = _run_together(site, [partial(deliver, url, signed) for url in urls], _MESSAGE_TIMEOUT_SECONDS)
    deliveries = [
        Delivery(address=mask(url), ok=reason is None, when=utc_now(), reason=reason)
        for url, reason in zip(urls, reasons, strict=True)
    ]
    for delivery in deliveries:
        _log("notification", delivery)
    _remember(site, _MARK, urls, deliveries)
    return deliveries


def try_addresses(site: Site, requested_by: str) -> TriedAddresses:
    """Send a message that says nothing but that it has arrived. Raises: ConflictError without any address."""
    if not read_settings(site).notify_urls:
        raise ConflictError(
            "Nobody is told when a backup needs attention: there is no address.",
            hint="Set FASTCMS_NOTIFY_URLS, or change it while the server runs: `fastcms backup set`.",
            code="notifications_not_set",
        )
    body = f"This is a test, which {requested_by} asked for. When backups need attention, it says so here."
    deliveries = send(site, Message("Notifications work", body))
    return TriedAddresses(ok=all(delivery.ok for delivery in deliveries), deliveries=deliveries)


def heartbeat(site: Site, signal: HeartbeatSignal, text: str = "") -> None:
    """Call the heartbeat's address, if there is one, and remember how that went. Never raises."""
    url = read_settings(site).heartbeat_url
    if not url:
        return
    # A backup waits for the call of its start, which only measures how long it takes.
    tries = 1 if signal is HeartbeatSignal.START else 3
    seconds = tries * (PING_TIMEOUT_SECONDS + PING_PAUSE_SECONDS)
    [reason] = _run_together(site, [partial(ping, url, signal, text, tries)], seconds)
    beat = Heartbeat(address=mask_web(url), ok=reason is None, when=utc_now(), reason=reason, signal=signal)
    _log("heartbeat", beat)
    _remember(site, _HEARTBEAT_MARK, [url], [beat])


def latest_deliveries(site: Site) -> list[Delivery]:
    """How the latest message went to each address in force, without those that none went to.

    Raises: BackupError.
    """
    found = _recall(site, _MARK, read_settings(site).notify_urls)
    return [Delivery.model_validate(delivery) for delivery in found if delivery is not None]


def known_addresses(site: Site) -> list[KnownAddress]:
    """Everybody who is told, in the order of the settings. Raises: BackupError."""
    urls = read_settings(site).notify_urls
    return [
        KnownAddress(address=mask(url), latest=None if found is None else Delivery.model_validate(found))
        for url, found in zip(urls, _recall(site, _MARK, urls), strict=True)
    ]


def latest_heartbeat(site: Site) -> Heartbeat | None:
    """How the latest call of the address in force went; None when there was none. Raises: BackupError."""
    [beat] = _recall(site, _HEARTBEAT_MARK, [read_settings(site).heartbeat_url])
    return None if beat is None else Heartbeat.model_validate(beat)


def _sign(site: Site, message: Message) -> Message:
    host = socket.gethostname()
    signature = f"Site: {site.settings.data_dir.absolute()} on {host}"
    return replace(message, title=f"[FastCMS {host}] {message.title}", body=f"{message.body}\n\n{signature}")


def _run_together(
    site: Site, works: Sequence[Callable[[], str | None]], timeout_seconds: float
) -> list[str | None]:
    """What each returns. Nobody waits longer than that, or for what a server does while it stops."""
    reasons: list[str | None] = [NOT_IN_TIME] * len(works)

    def run(number: int, work: Callable[[], str | None]) -> None:
        try:
            reasons[number] = work()
        except Exception as error:  # noqa: BLE001 - whatever an address makes a library do
            reasons[number] = explain(str(error))

    # Daemons: one that hangs keeps no process from ending.
    threads = [Thread(target=run, args=item, daemon=True) for item in enumerate(works)]
    for thread in threads:
        with suppress(RuntimeError):  # there are too many
            thread.start()
    deadline = time.monotonic() + timeout_seconds
    for thread in threads:
        while thread.is_alive() and time.monotonic() < deadline and not site.stopping.is_set():
            thread.join(_POLL_SECONDS)
    return list(reasons)


def _log(what: str, delivery: Delivery) -> None:
    if delivery.ok:
        get_logger().info(f"{what} sent", address=delivery.address)
    else:
        get_logger().warning(f"A {what} did not arrive.", address=delivery.address, reason=delivery.reason)


def _remember(site: Site, mark: str, urls: Sequence[str], deliveries: Sequence[Delivery]) -> None:
    with suppress(OSError):  # of the key; the history itself never raises
        found = {
            _fingerprint(site, url): delivery.model_dump(mode="json")
            for url, delivery in zip(urls, deliveries, strict=True)
        }
        history.write_mark(site, mark, found)


def _recall(site: Site, mark: str, urls: Sequence[str]) -> list[dict[str, Any] | None]:
    """What is remembered of each address that is in force now. Raises: BackupError."""
    with explained("Reading how notifications went"):
        known = history.read_mark(site, mark) or {}
        return [known.get(_fingerprint(site, url)) for url in urls]


def _fingerprint(site: Site, url: str) -> str:
    """Which address it was, for whoever has the address and this site's key, and for nobody else."""
    return hmac.new(site.secret_key.encode(), url.encode(), hashlib.sha256).hexdigest()[:16]
