"""Whether the audit is as it was written: no line removed, changed, put in, moved, or cut off at the end."""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from sqlalchemy import Connection, select

from ingest.ledger.audit import CUT, Line, lines
from ingest.ledger.database import Database
from ingest.ledger.sealed import AUDIT_KEY
from ingest.ledger.tables import audit, audit_tip
from keystore.audit_chain import Anchor, mac_of, next_key
from keystore.vault import Vault


@dataclass(frozen=True, slots=True)
class Noted:
    """A line's number and hash that were noted down outside of the ledger, as a verification told them."""

    number: int
    hash: str


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """What the verification found; ``tip`` is the last good line, worth noting down elsewhere.

    ``keyed`` says whether MACs were looked at; only lines from ``keyed_from`` on have one. ``first_bad`` is the number
    of the first line that is not right, and ``problem`` says what is wrong there. Lines up to ``cut`` were cut off by
    the sweeper.
    """

    tip: Noted
    keyed: bool
    keyed_from: int | None
    first_bad: int | None = None
    problem: str | None = None
    cut: int = 0


def verify_audit(database: Database, vault: Vault | None, *, noted: Noted | None = None) -> AuditFinding:
    """Read the whole audit and compare it with its chain, and with its MACs when the vault is given.

    Raises what the vault raises when the audit's first key does not open.
    """
    with database.read() as connection:  # one state of the ledger
        tip = connection.execute(select(audit_tip)).one()
        keyed = vault is not None and tip.sealed_first_key is not None
        anchor = anchor_of(tip.sealed_first_key, vault) if vault is not None and keyed else _told_anchor(connection)
        walk = Walk(anchor, (tip.keyed_from or 1) if keyed else None, noted)
        bad = walk.problem_of_noted()
        if bad is None:
            bad = next((found for line in lines(connection) if (found := walk.problem_of(line)) is not None), None)
    at_its_end = (walk.number, walk.hash) == (tip.line, tip.hash) and (not keyed or walk.key == tip.next_key)
    if bad is None and not (at_its_end and (noted is None or noted.number <= walk.number)):
        bad = (walk.number + 1, "the end was cut off from here on")
    first_bad, problem = bad or (None, None)
    last_good = Noted(walk.number, walk.hash.hex())
    return AuditFinding(last_good, keyed, tip.keyed_from, first_bad, problem, anchor.line)


def anchor_of(sealed: bytes, vault: Vault) -> Anchor:
    """Where the verification begins, from the vault. Raises what the vault raises when it does not open."""
    return Anchor.from_bytes(vault.open(sealed, AUDIT_KEY.record_id()).expose())


def _told_anchor(connection: Connection) -> Anchor:
    """The same without the master key: as the newest cut tells it, which whoever writes all anew can make up."""
    newest = select(audit.c.subject).where(audit.c.action == CUT).order_by(audit.c.id.desc()).limit(1)
    number, _, line_hash = (connection.scalar(newest) or "").partition(":")
    try:
        return Anchor(b"", int(number), bytes.fromhex(line_hash))
    except ValueError:
        return Anchor(b"")


class Walk:
    """From one line to the next, as far as all is well: the number and the hash of the last good line, the next key.

    Without ``keyed_from`` no MAC is looked at.
    """

    def __init__(self, anchor: Anchor, keyed_from: int | None, noted: Noted | None = None) -> None:
        self.number = anchor.line
        self.hash = anchor.hash
        self.key = anchor.key
        self._keyed_from = keyed_from
        self._noted = noted

    def problem_of_noted(self) -> tuple[int, str] | None:
        """Whether the line that was noted can still be looked at, before the first line."""
        if self._noted is None or not 0 < self._noted.number <= self.number:
            return None
        if self._noted.number < self.number:
            return (
                self._noted.number,
                "it was noted, and has been cut off by the sweeper since: note the last line anew",
            )
        return None if self._noted.hash == self.hash.hex() else (self.number, "its hash is not the one that was noted")

    def problem_of(self, line: Line) -> tuple[int, str] | None:
        """Which line is wrong and how, when the next line is not this one as it was written."""
        expected = self.number + 1
        if line.number > expected:
            return expected, "it is missing"
        if line.number < expected:
            return line.number, "it was put in"
        if not line.follows(self.hash):
            return expected, "it was changed, or it or one before it was moved or put in"
        if self._keyed_from is not None and expected >= self._keyed_from:
            if line.mac is None or not hmac.compare_digest(line.mac, mac_of(self.key, line.hash)):
                return expected, "it was written anew: its hash fits, its MAC does not"
            self.key = next_key(self.key)
        if self._noted is not None and self._noted.number == expected and self._noted.hash != line.hash.hex():
            return expected, "its hash is not the one that was noted"
        self.number, self.hash = expected, line.hash
        return None
