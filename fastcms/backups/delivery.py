"""Reach one address: a message through Apprise, a call in healthchecks.io's manner.

Addresses hold passwords and tokens, and what libraries say of a failure quotes them. So an address is only
shown masked, and why it was not reached is told in words of ours.
"""

import logging
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from urllib.parse import urlsplit, urlunsplit

PING_TIMEOUT_SECONDS = 10
PING_PAUSE_SECONDS = 1
NOT_IN_TIME = "It did not answer in time."

_PING_MAX_BYTES = 10_000
_SERVER_ERRORS = 500
# How Apprise tells of a status, and `ping`.
_STATUS = re.compile(r"error=(\d{3})\b")
# What addresses and servers bring into the words of libraries.
_QUOTED = re.compile(r"'[^']*'|\burl: \S+")
# What the words of requests, smtplib and the system mean; the first one counts.
_MEANINGS = (
    (
        r"ProxyError|connect to proxy",
        "The proxy that HTTPS_PROXY or HTTP_PROXY names did not let it through.",
    ),
    (
        r"not known|name resolution|nodename nor|no address associated|NameResolution",
        "There is no host of this name, or this machine cannot look it up.",
    ),
    (r"connection refused", "Nothing listens at that host and port."),
    (r"unreachable|no route to host", "This machine has no network connection to it."),
    (r"timed? ?out", NOT_IN_TIME),
    (
        r"certificate (has expired|is not yet valid)",
        "Its certificate has expired, or this machine's clock is wrong.",
    ),
    (
        r"SSLError|\[SSL|STARTTLS",
        "No encrypted connection came about: its certificate is not trusted, or it speaks no TLS.",
    ),
    (r"\(53[045],", "It refused the user name or the password."),
    (r"connection (error|aborted|reset)|closed", "The connection failed."),
)


class MessageLevel(StrEnum):
    """Apprise's levels: services show them in colours."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True)
class Message:
    title: str
    body: str
    level: MessageLevel = MessageLevel.INFO


class HeartbeatSignal(StrEnum):
    START = "start"
    SUCCESS = "success"
    FAIL = "fail"


def deliver(url: str, message: Message) -> str | None:
    """Send a message to one address; return why that failed, None if it did not."""
    # Takes longer to import than most commands to work.
    from apprise import Apprise, AppriseAsset, NotifyFormat, OverflowMode  # noqa: PLC0415

    # Without Apprise's own limit, whose threads would keep a process from ending.
    asset = AppriseAsset(app_id="FastCMS", app_desc="FastCMS", async_mode=False, service_timeout=0)
    service = Apprise.instantiate(url, asset=asset)
    if service is None:
        return "Apprise does not know this kind of address."
    if service.overflow_mode is OverflowMode.UPSTREAM:  # which refuses what is too long
        service.overflow_mode = OverflowMode.SPLIT
    apprise = Apprise(asset=asset)
    apprise.add(service)
    result = apprise.notify(
        message.body,
        message.title,
        notify_type=message.level.value,
        body_format=NotifyFormat.TEXT,
        log_level=logging.DEBUG,
    )
    if any(attempt for reached in result for attempt in reached):
        return None
    # The other details are the message itself, and what the far side answered.
    clues = (
        entry.message
        for entry in result.logs()
        if entry.level != "DEBUG" or "Exception:" in entry.message[:40]
    )
    return explain(" ".join(clues))


def ping(url: str, signal: HeartbeatSignal, body: str, tries: int) -> str | None:
    """Call a heartbeat's address; return why that failed, None if it did not.

    Source: https://healthchecks.io/docs/http_api/
    """
    import requests  # noqa: PLC0415 - see `deliver`

    parts = urlsplit(url)
    suffix = "" if signal is HeartbeatSignal.SUCCESS else f"/{signal}"
    url = urlunsplit(parts._replace(path=parts.path.rstrip("/") + suffix))
    reason: str | None = None
    for number in range(tries):
        time.sleep(PING_PAUSE_SECONDS if number else 0)
        try:
            # As a stream: what the far side answers is not read, however much that is.
            with requests.post(
                url, body.encode()[:_PING_MAX_BYTES], timeout=PING_TIMEOUT_SECONDS, stream=True
            ) as answer:
                if answer.ok:
                    return None
                reason = explain(f"error={answer.status_code}")
                if answer.status_code < _SERVER_ERRORS:
                    return reason
        except requests.RequestException as error:
            reason = explain(str(error))
    return reason


def explain(details: str) -> str:
    """Why somebody was not reached, by what libraries say of it. None of their words are in the answer."""
    if status := _STATUS.search(details):
        phrase = next((f" ({known.phrase})" for known in HTTPStatus if known == int(status[1])), "")
        return f"It answered with the status {status[1]}{phrase}."
    details = _QUOTED.sub("", details)
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, details, re.IGNORECASE):
            return meaning
    return "It did not take the message: look at the address, and at what the service allows."


def mask(url: str) -> str:
    """Enough of an address to know it by: its kind and its host.

    Apprise's own masking shows a webhook's path and headers, and a topic at ntfy.sh: they are secrets, too.
    """
    from apprise import Apprise  # noqa: PLC0415 - see `deliver`

    kind, _, _ = url.partition("://")
    host = ""
    with suppress(Exception):  # whatever an address makes a plug-in do
        service = Apprise.instantiate(url)
        if service is not None:
            known = str(service.url(privacy=True))  # type: ignore[no-untyped-call]
            kind, _, rest = known.partition("://")
            host = re.split("[/?]", rest)[0].rpartition("@")[2]
    if not set(host) & set(".:"):  # no host, but a topic or a channel
        host = "..."
    return f"{kind}://{host}" if re.fullmatch(r"[a-z0-9]{1,30}", kind) else "..."


def mask_web(url: str) -> str:
    """The same for an address of the web."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "..."
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
