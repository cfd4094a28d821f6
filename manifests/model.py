"""A manifest after it was read: what the sender says about one data file (CONTRACT.md 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from manifests.dates import ISO_8601
from manifests.encodings import UTF_8
from manifests.types import DataType, ImportType


@dataclass(frozen=True, slots=True)
class Column:
    """What the sender says about one column of the file.

    ``ct_name`` is ``None`` for the column's own name. ``format`` is one of `manifests.dates.DATE_FORMATS` and set for
    dates only; ``timezone`` is an IANA name, ``None`` for the manifest's default. ``separator`` stands between the
    values of a StringList; ``None`` means that a cell is a JSON array.
    """

    ct_name: str | None = None
    data_type: DataType = DataType.STRING
    format: str | None = None
    timezone: str | None = None
    ignore: bool = False
    separator: str | None = None


_UNDESCRIBED = Column()


@dataclass(frozen=True, slots=True)
class Manifest:
    """The sender's description of one data file; every field has been checked.

    ``key_id`` is lower case; ``size`` (bytes) and ``sha256`` (lower case hex) are those of the file as it is uploaded.
    ``encoding`` is one of `manifests.encodings.ENCODINGS`. Without ``header`` the ``columns`` name the file's. A
    ``dry_run`` stores nothing. At most one of ``max_errors`` (rows) and ``max_errors_percent`` (of the rows read) is
    set.
    """

    file_name: str
    type: ImportType
    client_email: str
    key_id: str | None = None
    columns: Mapping[str, Column] = field(default_factory=lambda: MappingProxyType({}))
    delimiter: str = ","
    quote: str = '"'
    encoding: str = UTF_8
    header: bool = True
    null_values: tuple[str, ...] = ()
    event_name: str | None = None
    default_timezone: str = "UTC"
    size: int | None = None
    sha256: str | None = None
    dry_run: bool = False
    on_error: Literal["skip", "abort"] = "skip"
    max_errors: int | None = None
    max_errors_percent: float | None = None

    def tolerates(self, *, rejected: int, read: int) -> bool:
        """Whether an import may store its good rows after ``rejected`` of ``read`` rows were rejected.

        A percentage is meant of the whole file: ask when all rows have been read. A count and ``abort`` may be asked
        at any time, and once the answer is no it stays no.
        """
        if rejected == 0:
            return True
        if self.on_error == "abort":
            return False
        if self.max_errors is not None:
            return rejected <= self.max_errors
        return self.max_errors_percent is None or rejected * 100 <= self.max_errors_percent * read

    def column(self, name: str) -> Column:
        """What the manifest says about a column of the file, described or not."""
        return self.columns.get(name, _UNDESCRIBED)

    def date_form(self, column: Column) -> tuple[str, str]:
        """The form and the time zone of a date column; ISO 8601 and the manifest's zone where it does not say."""
        return column.format or ISO_8601, column.timezone or self.default_timezone
