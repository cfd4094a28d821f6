"""What can be wrong with a sender's promise, or with a file that does not keep it.

Every error has a stable ``code``, a ``public`` text that may be mailed to the sender (no value of a row, ever)
and, where one column is to blame, its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

MAX_PROBLEMS_TOLD = 50
"""Problems of one manifest that its error's text lists; `ManifestInvalid.problems` has all."""


class ManifestError(Exception):
    """Base of this package's errors; only its leaves are raised."""

    code: ClassVar[str]

    def __init__(self, public: str, *, column: str | None = None) -> None:
        super().__init__(public)
        self.public = public
        self.column = column


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a manifest: where it is, what it is, and what to do about it.

    ``path`` is the key path (``columns.price.dataType``; empty for the document as a whole); ``line`` and ``column``
    count from 1 and are ``None`` where no place can be named.
    """

    path: str
    message: str
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line is not None else ""
        key = f"{self.path}: " if self.path else ""
        return f"{place}{key}{self.message}"


class ManifestInvalid(ManifestError):
    """The manifest breaks a rule; every problem of it is told, never only the first.

    ``remarks`` are what is accepted, but not by other programs. ``file_name`` and ``client_email`` are what could
    still be read of them, unchecked.
    """

    code = "manifest.invalid"

    def __init__(
        self,
        problems: tuple[Problem, ...],
        *,
        remarks: tuple[Problem, ...] = (),
        file_name: str | None = None,
        client_email: str | None = None,
    ) -> None:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [f"- {problem}" for problem in problems[:MAX_PROBLEMS_TOLD]]
        if len(problems) > MAX_PROBLEMS_TOLD:
            lines.append(f"- and {len(problems) - MAX_PROBLEMS_TOLD} more")
        if remarks:
            lines += ["And what is no problem here:", *(f"- {remark}" for remark in remarks)]
        super().__init__("\n".join([f"The manifest has {count}:", *lines]))
        self.problems = problems
        self.remarks = remarks
        self.file_name = file_name
        self.client_email = client_email


class HeaderMismatch(ManifestError):
    """The file's header and the manifest's ``columns`` do not fit; raised before any row is read."""

    code = "data.header"


class TypeConflict(ManifestError):
    """A column asks for another type than the one stored for its property; raised before any row is read."""

    code = "data.type_conflict"


class DataMalformed(ManifestError):
    """The data file cannot be cut into records (for example a quote that is never closed)."""

    code = "data.malformed"


class DataEncoding(ManifestError):
    """The data file is not in the encoding that the manifest promises."""

    code = "data.encoding"


class LimitExceeded(ManifestError):
    """The data file goes beyond a limit: columns, properties, length of a name."""

    code = "data.limit"


class TooManyErrors(ManifestError):
    """More rows were rejected than the manifest's ``onError`` and ``maxErrors`` allow; nothing is stored."""

    code = "data.too_many_errors"
