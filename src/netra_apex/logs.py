"""Logging, set up in one place: structlog and the standard library's loggers write one kind of line to stderr."""

import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

# Theirs are the lines that we write ourselves, with more in them; only their warnings are news.
QUIET = ("uvicorn", "uvicorn.error", "uvicorn.access", "websockets", "asyncio", "aiohttp.access", "mcp.server")


def configure(hide: Callable[[str], str], *, stream: TextIO | None = None, adding: Processor | None = None) -> None:
    """Sets the process's logging: lines for people on a terminal, JSON otherwise, each as `hide` lets it be seen.

    `adding` adds to each line, as a processor of structlog's, in the task that writes it.
    """
    out = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if adding is not None:
        shared.append(adding)
    people = out.isatty()
    final: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if people:
        final.append(structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback))
    else:
        final += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    final.append(_Hide(hide))
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processors=final, foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in QUIET:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def use_standard_logging() -> None:
    """For a program that has not set structlog up: our lines go to the standard library's loggers, as a library's do.

    Left to itself structlog writes to stdout, and shows the variables of every frame of a traceback.
    """
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.stdlib.add_log_level,
                structlog.stdlib.render_to_log_kwargs,
            ],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
        )


class _Hide:
    """Blots out secrets, wherever in a line they turn up: what an exception says is what users and providers said."""

    def __init__(self, hide: Callable[[str], str]) -> None:
        self._hide = hide

    def __call__(self, logger: WrappedLogger, name: str, line: EventDict | str) -> Any:
        """The line as it may be written."""
        del logger, name
        return self._hide(str(line))
