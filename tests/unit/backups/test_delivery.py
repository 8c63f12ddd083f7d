"""One address: what arrives there, why something did not, and what is shown of it."""

from collections.abc import Iterator

import pytest

from fastcms.backups import delivery
from fastcms.backups.delivery import (
    HeartbeatSignal,
    Message,
    MessageLevel,
    deliver,
    explain,
    mask,
    mask_web,
    ping,
)
from fastcms.config import Settings
from fastcms.logs import configure_logs
from tests.far_side import FarSide, Received, listening, refusing_host

# As requests and OpenSSL have it.
UNKNOWN_HOST = (
    "HTTPSConnectionPool(host='proxy.org', port=443): Max retries exceeded with url: /[SSL/SECRET "
    "(Caused by NameResolutionError(\"HTTPSConnection(host='proxy.example.com', port=443): Failed to resolve "
    "'proxy.example.com' ([Errno -2] Name or service not known)\"))"
)
REFUSING_PROXY = (
    "HTTPSConnectionPool(host='example.com', port=443): Max retries exceeded with url: /SECRET (Caused by "
    "ProxyError('Unable to connect to proxy', NewConnectionError(\"HTTPSConnection(host='10.0.0.1', port=8): "
    'Failed to establish a new connection: [Errno 111] Connection refused")))'
)
BAD_CERTIFICATE = "Socket Exception: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed:"
MESSAGE = Message("Backups need attention", "The disk is full.", MessageLevel.FAILURE)


@pytest.fixture
def far_side() -> Iterator[FarSide]:
    with listening() as far_side:
        yield far_side


@pytest.fixture(autouse=True)
def _as_in_a_server(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logs(settings)
    monkeypatch.setattr(delivery, "PING_PAUSE_SECONDS", 0)
    monkeypatch.setattr(delivery, "PING_TIMEOUT_SECONDS", 0.2)


def test_a_message_arrives_with_its_title_its_text_and_its_level(far_side: FarSide) -> None:
    assert deliver(f"json://{far_side.host}/hook", MESSAGE) is None
    [message] = far_side.messages
    assert (message["title"], message["message"], message["type"]) == (
        "Backups need attention",
        "The disk is full.",
        "failure",
    )


def test_a_message_that_is_too_long_for_a_service_arrives_in_parts(far_side: FarSide) -> None:
    text = "\n".join(f"Line {number}." for number in range(5_000))
    assert deliver(f"json://{far_side.host}", Message("Long", text)) is None
    parts = [message["message"] for message in far_side.messages]
    assert len(parts) > 1
    assert "\n".join(parts).split() == text.split()


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_a_service_that_does_not_take_a_message_is_told_with_its_status(
    far_side: FarSide, status: int
) -> None:
    far_side.status = status
    reason = deliver(f"json://{far_side.host}", MESSAGE) or ""
    assert reason.startswith(f"It answered with the status {status} (")


def test_a_service_that_is_optional_for_apprise_has_failed_all_the_same(far_side: FarSide) -> None:
    far_side.status = 500
    assert deliver(f"json://{far_side.host}?optional=yes", MESSAGE) is not None


def test_a_service_that_never_answers_is_given_up(far_side: FarSide) -> None:
    far_side.is_silent = True
    assert deliver(f"json://{far_side.host}?rto=0.1", MESSAGE) == "It did not answer in time."


def test_a_port_that_nobody_listens_at_is_told_as_such() -> None:
    assert deliver(f"json://{refusing_host()}", MESSAGE) == "Nothing listens at that host and port."


def test_a_mail_server_that_nobody_runs_is_told_as_such() -> None:
    host, _, port = refusing_host().partition(":")
    url = f"mailto://user:SECRET@{host}:{port}?to=me@example.com&from=cms@example.com&mode=insecure"
    assert deliver(url, MESSAGE) == "Nothing listens at that host and port."


@pytest.mark.parametrize("url", ["nonsense://host", "", "no address", "json://", "https://example.com"])
def test_an_address_of_no_known_kind_is_told_as_such(url: str) -> None:
    assert deliver(url, MESSAGE) == "Apprise does not know this kind of address."


@pytest.mark.parametrize(
    ("signal", "path"),
    [
        (HeartbeatSignal.START, "/SECRET/start?create=1"),
        (HeartbeatSignal.SUCCESS, "/SECRET?create=1"),
        (HeartbeatSignal.FAIL, "/SECRET/fail?create=1"),
    ],
)
def test_a_heartbeat_calls_the_address_of_its_signal(
    far_side: FarSide, signal: HeartbeatSignal, path: str
) -> None:
    assert ping(f"http://{far_side.host}/SECRET/?create=1", signal, "The disk is full.", tries=1) is None
    assert far_side.received == [Received(path, "The disk is full.")]


def test_a_heartbeat_tells_ten_kilobytes_at_most(far_side: FarSide) -> None:
    assert ping(f"http://{far_side.host}/", HeartbeatSignal.FAIL, "x" * 20_000, tries=1) is None
    assert len(far_side.received[0].body) == 10_000


@pytest.mark.parametrize(("status", "calls"), [(503, 3), (404, 1)])
def test_a_heartbeat_is_repeated_only_where_that_may_help(far_side: FarSide, status: int, calls: int) -> None:
    far_side.status = status
    reason = ping(f"http://{far_side.host}/SECRET", HeartbeatSignal.SUCCESS, "", tries=3) or ""
    assert str(status) in reason
    assert len(far_side.received) == calls


def test_a_heartbeat_that_nobody_answers_is_given_up(far_side: FarSide) -> None:
    far_side.is_silent = True
    reason = ping(f"http://{far_side.host}/SECRET", HeartbeatSignal.SUCCESS, "", tries=2)
    assert reason == "It did not answer in time."
    assert len(far_side.received) == 2


@pytest.mark.parametrize(
    ("details", "meaning"),
    [
        (UNKNOWN_HOST, "There is no host of this name"),
        (REFUSING_PROXY, "The proxy"),
        (f"{BAD_CERTIFICATE} certificate is not yet valid", "Its certificate has expired, or this machine's"),
        (f"{BAD_CERTIFICATE} self-signed certificate", "No encrypted connection"),
        (
            "Socket Exception: (535, b'5.7.8 SECRET not accepted')",
            "It refused the user name or the password.",
        ),
        ("Socket Exception: [Errno 101] Network is unreachable", "This machine has no network connection"),
        ("A Connection error occurred sending Telegram notification.", "The connection failed."),
        ("", "It did not take the message"),
    ],
)
def test_what_libraries_say_is_told_in_other_words(details: str, meaning: str) -> None:
    assert explain(details).startswith(meaning)
    assert "SECRET" not in explain(details)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mailto://user:SECRET@example.com?to=me@example.com", "mailto://example.com"),
        (
            "mailtos://smtp.example.com:587?user=u&pass=SECRET&to=me@x.org&from=a@x.org",
            "mailtos://smtp.example.com",
        ),
        (
            "json://SECRET@hooks.example.com:8080/SECRET?+Authorization=SECRET",
            "json://hooks.example.com:8080",
        ),
        ("ntfy://SECRET", "ntfys://..."),
        ("ntfys://user:SECRET@ntfy.example.com/SECRET", "ntfys://ntfy.example.com"),
        ("tgram://123456789:SECRET_hijklmnop/12315544/", "tgram://1...p"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/SECRETjkdnlazkcOXrIdevi7/#general", "slack://T...2"),
        ("https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/SECRETjkdnlazkcOXrIdevi7", "slack://T...2"),
        ("discord://4174216298/SECRET8qBe7bk2ZwO5U711o3dV_js", "discord://4...8"),
        ("nonsense://SECRET", "nonsense://..."),
        ("SECRET", "..."),
    ],
)
def test_nothing_secret_of_an_address_is_shown(url: str, shown: str) -> None:
    assert mask(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hc-ping.com/SECRET", "https://hc-ping.com"),
        ("http://user:SECRET@127.0.0.1:8000/SECRET?x=SECRET", "http://127.0.0.1:8000"),
        ("https://[SECRET", "..."),
    ],
)
def test_nothing_secret_of_a_heartbeats_address_is_shown(url: str, shown: str) -> None:
    assert mask_web(url) == shown
