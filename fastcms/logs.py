"""Structured logs: one event a line, for people or as JSON, with the id of the request it belongs to."""

import logging
import sys

import structlog
from asgi_correlation_id import correlation_id
from structlog.typing import EventDict, Processor, WrappedLogger

from fastcms.config import LogFormat, Settings


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if request_id := correlation_id.get():
        event["request_id"] = request_id
    return event


def configure_logs(settings: Settings) -> None:
    """Send the logs of FastCMS and of every library to standard error in one format.

    uvicorn's access log is switched off: it prints query strings, and `http.py` writes one line a request.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_request_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if settings.log_format is LogFormat.JSON:
        # Tracebacks come without local variables, which hold cookies and tokens.
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        final: list[Processor] = [
            structlog.processors.ExceptionRenderer(tracebacks),
            structlog.processors.JSONRenderer(),
        ]
    else:
        final = [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        library = logging.getLogger(name)
        library.handlers, library.propagate = [], name != "uvicorn.access"
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Its warnings quote whole URLs, and say no more than that somebody is not logged in.
    logging.getLogger("starlette_admin").setLevel(logging.ERROR)
    _keep_addresses_out()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _keep_addresses_out() -> None:
    """Let nothing that sends notifications log: it quotes addresses, with passwords and tokens in them.

    `backups/delivery.py` looks at Apprise's records itself, and tells what they mean.
    """
    apprise = logging.getLogger("apprise")
    apprise.propagate = False
    apprise.setLevel(logging.DEBUG)
    apprise.handlers = [logging.NullHandler()]  # without one, Python prints warnings by itself
    for name in ("urllib3", "requests_oauthlib", "oauthlib"):
        logging.getLogger(name).setLevel(logging.ERROR)


def get_logger() -> structlog.stdlib.BoundLogger:
    logger: structlog.stdlib.BoundLogger = structlog.get_logger("fastcms")
    return logger
