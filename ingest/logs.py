"""Logs: one JSON object a line on standard error, or coloured lines when that is a terminal.

Every record has ``action`` and the IDs that it is about; the message text is constant. No row value and no secret
gets here.
"""

from __future__ import annotations

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor

from ingest.outcomes import cause_of


def set_up_logs(level: str) -> None:
    """Set up the process's logs; the last call counts. The libraries' own records join ours from level warning up."""
    steps: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_texts_of_exceptions,
    ]
    written = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*steps, written],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    # what a library says may hold what a client has sent: a line of it is one of ours, with nothing raw in it
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *steps],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, written],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def _without_texts_of_exceptions(_logger: object, _method: str, record: EventDict) -> EventDict:
    """Put the class and the way of an exception into the record, not its text or its variables."""
    told = record.pop("exc_info", None)
    error = sys.exc_info()[1] if told is True else told[1] if isinstance(told, tuple) else told
    if isinstance(error, BaseException):
        record["cause"] = cause_of(error)
    return record
