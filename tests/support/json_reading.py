"""A whole JSON file through the parse step, for tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ingest.steps.json_records import JsonRecords
from manifests.model import Column

Row = tuple[str | None, ...]
ABC = {"a": Column(), "b": Column(), "c": Column()}


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    yield from (data[start : start + size] for start in range(0, len(data), size))


def read(
    data: bytes | str, size: int = 1000, columns: Mapping[str, Column] = ABC, **options: int
) -> tuple[list[str], list[Row], list[int | None]]:
    """Header, rows and faults; checks that rows are numbered without a gap."""
    data = data.encode() if isinstance(data, str) else data
    records = JsonRecords(pieces(data, size), columns, chunk_bytes=size, **options)
    frames = list(records)
    rows = [row for frame in frames for row in frame.drop("_row", "_fault").rows()]
    assert [row for frame in frames for row in frame["_row"]] == list(range(1, len(rows) + 1))
    assert records.rows_read == len(rows)
    return records.header, rows, [fault for frame in frames for fault in frame["_fault"]]
