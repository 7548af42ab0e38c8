"""Log lines on stderr: JSON in production, short coloured ones on a terminal. Values never break a line."""

from __future__ import annotations

import logging
import sys

import structlog

QUIET = ("aiosqlite", "alembic", "asyncio", "botocore", "aiobotocore", "urllib3", "werkzeug")


def configure(*, json: bool, level: int = logging.INFO) -> None:
    """Sets up structlog, and the standard library's loggers beside it, once per process."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=24, exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Tracebacks without local variables: those hold tokens and passwords.
            structlog.processors.format_exc_info if json else structlog.processors.StackInfoRenderer(),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    # Logs a traceback with header bytes for every malformed request; what a handler raises is logged by our middleware.
    logging.getLogger("aiohttp.server").setLevel(logging.CRITICAL)
