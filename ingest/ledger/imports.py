"""Imports in the ledger: received, made ready, looked up. Workers take them from `ingest.ledger.queue`."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Column, RowMapping, delete, func, insert, or_, select, text, update

from failpoints import passing
from ingest.errors import MoveRefused
from ingest.ledger import replays
from ingest.ledger.database import Database
from ingest.ledger.tables import imports, timeline
from ingest.ledger.timeline import What, note
from ingest.report import Drift, FileColumn, PropertyPreview, RejectedRow, Report
from ingest.states import ENDS, State

_AT_ONCE = 500
_PASS_BY = text(
    "SELECT nextval('imports_sequence_seq') FROM imports_sequence_seq, generate_series(last_value, :number)"
)


@dataclass(frozen=True, slots=True)
class Received:
    """An import whose files are still being taken."""

    id: str
    account: str
    manifest: str
    data_file: str | None
    replay_of: str | None


def new_import_id(now: datetime) -> str:
    """A new ID that sorts by time of receipt: ``20261122t081500-`` and 12 random hexadecimal digits."""
    return f"{now.astimezone(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(6)}"


class Imports:
    """Records and reads imports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def receive(
        self,
        import_id: str,
        account: str,
        manifest: str,
        data_file: str | None,
        now: datetime,
        *,
        state: State = State.RECEIVED,
        replay_of: str | None = None,
    ) -> None:
        """Record an import; its files are taken after this, unless they lie where they belong (state ``ready``).

        Raises `MoveRefused` when it is the replay of an import that is not over.
        """
        with self._database.write() as connection:
            if replay_of is not None:
                replays.begin(connection, replay_of, import_id, now)
            connection.execute(
                insert(imports).values(
                    id=import_id,
                    account=account,
                    manifest=manifest,
                    data_file=data_file,
                    state=state,
                    received_at=now,
                    replay_of=replay_of,
                )
            )
            note(connection, import_id, What.RECEIVED, now)

    def received(self, account: str) -> list[Received]:
        """The account's imports whose files are not all taken, because a process ended or something failed."""
        wanted = select(imports).where(imports.c.state == State.RECEIVED, imports.c.account == account)
        with self._database.read() as connection:
            rows = connection.execute(wanted.order_by(imports.c.sequence))
            return [Received(row.id, row.account, row.manifest, row.data_file, row.replay_of) for row in rows]

    def forget(self, import_id: str) -> None:
        """Take back an import whose manifest was gone before it was taken; any other stays."""
        with self._database.write() as connection:
            state = connection.scalar(select(imports.c.state).where(imports.c.id == import_id).with_for_update())
            if state == State.RECEIVED:
                connection.execute(delete(timeline).where(timeline.c.import_id == import_id))
                connection.execute(delete(imports).where(imports.c.id == import_id))

    def known(self, import_ids: Sequence[str]) -> set[str]:
        """Which of these IDs there are."""
        found: set[str] = set()
        with self._database.read() as connection:
            for start in range(0, len(import_ids), _AT_ONCE):
                some = import_ids[start : start + _AT_ONCE]
                found.update(connection.scalars(select(imports.c.id).where(imports.c.id.in_(some))))
        return found

    def bring_back(
        self,
        import_id: str,
        account: str,
        data_file: str | None,
        *,
        received_at: datetime,
        sequence: int | None,
        replay_of: str | None,
        now: datetime,
    ) -> None:
        """Record an import that the ledger has forgotten, ready to be carried out; its ``sequence`` if it is free.

        Nothing happens when it is there. The name of its manifest is not known any more.
        """
        with self._database.write() as connection:
            same = or_(imports.c.id == import_id, imports.c.sequence == sequence)
            taken = connection.execute(select(imports.c.id).where(same)).scalars().all()
            if import_id in taken:
                return
            place = {} if taken or sequence is None else {"sequence": sequence}
            facts = {"id": import_id, "account": account, "manifest": "recovered.manifest", "data_file": data_file}
            connection.execute(
                insert(imports).values(
                    **facts, **place, state=State.READY, received_at=received_at, replay_of=replay_of
                )
            )
            if place and connection.dialect.name == "postgresql":  # SQLite sees to it that no number comes again
                connection.execute(_PASS_BY, {"number": sequence})
            note(connection, import_id, What.RECOVERED, now)

    def pass_by(self, account: str, sequence: int, now: datetime) -> None:
        """Give no sequence up to this one any more: the account has rows of it, which nothing in the ledger tells."""
        row = {
            "id": new_import_id(now),
            "account": account,
            "manifest": "",
            "state": State.RECEIVED,
            "received_at": now,
        }
        with self._database.write() as connection:
            if (connection.scalar(select(func.max(imports.c.sequence))) or 0) >= sequence:
                return
            if connection.dialect.name == "postgresql":
                connection.execute(_PASS_BY, {"number": sequence})
                return
            connection.execute(insert(imports).values(**row, sequence=sequence))
            connection.execute(delete(imports).where(imports.c.id == row["id"]))

    def retry(self, import_id: str, now: datetime) -> bool:
        """Make a held or failed import whose files are kept ready again; whether it was one.

        Raises `MoveRefused` when it was replayed since: then the replay is what may be tried again.
        """
        with self._database.write() as connection:
            newest = replays.newest(connection, import_id)
            if newest not in (None, import_id):
                raise MoveRefused(f"The import {import_id} was replayed as {newest}: try that one again, or replay it.")
            retried = connection.execute(
                update(imports)
                .where(
                    imports.c.id == import_id,
                    imports.c.state.in_([State.HELD, State.FAILED]),
                    imports.c.files_removed_at.is_(None),
                )
                .values(
                    state=State.READY,
                    lost=0,
                    give_up_at=None,
                    next_attempt_at=None,
                    results_removed_at=None,
                    retried_at=now,
                )
            )
            if retried.rowcount == 1:
                note(connection, import_id, What.RETRIED, now)
                passing("retry.written")
        passing("retry.committed")
        return retried.rowcount == 1

    def ready(self, import_id: str, now: datetime) -> None:
        """The import's files are taken: a worker may have it. Nothing happens the second time."""
        with self._database.write() as connection:
            readied = connection.execute(
                update(imports)
                .where(imports.c.id == import_id, imports.c.state == State.RECEIVED)
                .values(state=State.READY)
            )
            if readied.rowcount == 1:
                note(connection, import_id, What.TAKEN, now)

    def get(self, import_id: str) -> Report | None:
        """The facts about one import; ``None`` when there is none of this ID."""
        with self._database.read() as connection:
            row = connection.execute(select(imports).where(imports.c.id == import_id)).mappings().one_or_none()
        return None if row is None else report_of(row)

    def newest(self, *, account: str | None = None, limit: int = 50) -> list[Report]:
        """The last imports received, newest first."""
        wanted = select(imports).order_by(imports.c.sequence.desc()).limit(limit)
        if account is not None:
            wanted = wanted.where(imports.c.account == account)
        with self._database.read() as connection:
            return [report_of(row) for row in connection.execute(wanted).mappings()]

    def ids(self, account: str, states: Sequence[State]) -> list[str]:
        """The IDs of the account's imports in these states, oldest first."""
        wanted = select(imports.c.id).where(imports.c.account == account, imports.c.state.in_(states))
        with self._database.read() as connection:
            return list(connection.scalars(wanted.order_by(imports.c.sequence)))

    def under_way(self, *, since: datetime) -> list[tuple[Report, datetime]]:
        """The imports that are neither over nor held since then or longer, oldest first.

        Each with its beginning: its receipt, or when it was let be tried again.
        """
        began = func.coalesce(imports.c.retried_at, imports.c.received_at)
        wanted = select(imports).where(imports.c.state.not_in(list(ENDS)), began <= since)
        with self._database.read() as connection:
            rows = connection.execute(wanted.order_by(imports.c.sequence)).mappings()
            return [(report_of(row), row["retried_at"] or row["received_at"]) for row in rows]

    def uses_of_pairs(self, account: str | None = None) -> dict[tuple[str, str], int]:
        """How many imports each pair has opened, by account and fingerprint."""
        columns = (imports.c.account, imports.c.pair)
        wanted = select(*columns, func.count()).where(imports.c.pair.is_not(None)).group_by(*columns)
        if account is not None:
            wanted = wanted.where(imports.c.account == account)
        with self._database.read() as connection:
            return {(row[0], row[1]): row[2] for row in connection.execute(wanted)}

    def opened_by(self, account: str, fingerprints: Sequence[str], *, limit: int) -> list[Report]:
        """The account's last imports that one of these pairs has opened, newest first."""
        wanted = (
            select(imports)
            .where(imports.c.account == account, imports.c.pair.in_(fingerprints))
            .order_by(imports.c.sequence.desc())
            .limit(limit)
        )
        with self._database.read() as connection:
            return [report_of(row) for row in connection.execute(wanted).mappings()]


def report_of(row: RowMapping) -> Report:
    """The report that a row of the ledger holds."""
    return Report(
        id=row["id"],
        account=row["account"],
        manifest=row["manifest"],
        data_file=row["data_file"],
        type=row["type"],
        state=row["state"],
        received_at=row["received_at"],
        client_email=row["client_email"],
        code=row["code"],
        message=row["message"],
        remedy=row["remedy"],
        column=row["failed_column"],
        rows_read=row["rows_read"],
        rows_stored=row["rows_stored"],
        rows_rejected=row["rows_rejected"],
        rejects=tuple(RejectedRow(**reject) for reject in row["rejects"] or ()),
        reject_file=row["reject_file"],
        rejects_in_file=row["rejects_in_file"],
        finished_at=row["finished_at"],
        seconds=row["seconds"] or {},
        key_id=row["key_id"],
        pair=row["pair"],
        signature=row["signature"],
        signer=row["signer"],
        bytes_encrypted=row["bytes_encrypted"],
        bytes_plain=row["bytes_plain"],
        sha256=row["sha256"],
        attempts=row["attempts"],
        dry_run=row["dry_run"],
        columns=tuple(FileColumn(**column) for column in row["columns"] or ()),
        drift=tuple(Drift(**drift) for drift in row["drift"] or ()),
        preview=tuple(PropertyPreview(**preview) for preview in row["preview"] or ()),
        replay_of=row["replay_of"],
        duplicate_of=row["duplicate_of"],
        first_received_at=row["first_received_at"],
    )


def columns_of(report: Report) -> dict[str, Any]:
    """What a report sets in its row: everything that becomes known after receipt."""
    return {
        "type": report.type,
        "data_file": _fitting(report.data_file, imports.c.data_file),
        "key_id": report.key_id,
        "pair": report.pair,
        "signature": report.signature,
        "signer": report.signer,
        "client_email": _fitting(report.client_email, imports.c.client_email),
        "code": report.code,
        "message": _fitting(report.message, imports.c.message),
        "remedy": report.remedy,
        "failed_column": _fitting(report.column, imports.c.failed_column),
        "rows_read": report.rows_read,
        "rows_stored": report.rows_stored,
        "rows_rejected": report.rows_rejected,
        "rejects": [asdict(reject) for reject in report.rejects],
        "reject_file": report.reject_file,
        "rejects_in_file": report.rejects_in_file,
        "finished_at": report.finished_at,
        "seconds": report.seconds,
        "bytes_encrypted": report.bytes_encrypted,
        "bytes_plain": report.bytes_plain,
        "sha256": report.sha256,
        "dry_run": report.dry_run,
        "columns": [asdict(column) for column in report.columns],
        "drift": [asdict(drift) for drift in report.drift],
        "preview": [asdict(preview) for preview in report.preview],
        "duplicate_of": report.duplicate_of,
        "first_received_at": report.first_received_at,
    }


def _fitting(said: str | None, column: Column[Any]) -> str | None:
    """What a refused manifest says, as every engine takes it: PostgreSQL has no NUL, and no text that is too long."""
    most: int | None = getattr(column.type, "length", None)
    return None if said is None else said.replace("\0", "\N{REPLACEMENT CHARACTER}")[:most]
