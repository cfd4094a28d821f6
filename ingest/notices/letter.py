"""What a notice about an import says, before it is text or HTML: both are written from one `Letter`, so they agree.

Everything in a letter is safe to show (`ingest.notices.display`), but not escaped. A letter never holds a value of a
row: a report has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from ingest.notices.display import counted, header_text, moment, shown, time_between
from ingest.notices.notice import Notice, Stage
from ingest.results import report_name

MOST_REJECTS = 10
MOST_DRIFTS = 10
MOST_PROPERTIES = 50
_MOST_MESSAGE_LINES = 40
_MOST_LINE_CHARACTERS = 600
_MOST_PATH_CHARACTERS = 255
_KINDS = {"event": "events", "profile": "profiles"}


# a notice that waited while the service was brought to this version lacks them
_LATER_KEYS: dict[str, Any] = {
    "signature": None,
    "signer": None,
    "dry_run": False,
    "drift": [],
    "preview": [],
    "duplicate_of": None,
    "first_received_at": None,
}


class Tone(StrEnum):
    """How good the news is; decides the colour."""

    NEUTRAL = "neutral"
    GOOD = "good"
    MIXED = "mixed"
    BAD = "bad"


@dataclass(frozen=True)
class Reject:
    """One line of the table of rejected rows."""

    row: str
    column: str
    code: str
    reason: str


@dataclass(frozen=True)
class Letter:
    """The parts of a mail in their order; an empty part is left out.

    ``problem`` has one paragraph each; a paragraph that starts with ``- `` is an item of a list. ``more`` is the line
    below the rejected rows, ``drift`` what differs from the previous import, ``preview`` what a dry run would have
    stored, a line for each property; ``outcomes`` and ``examples`` are of a digest, lines as well; ``files`` are
    labelled paths in the sender's SFTP home.
    """

    subject: str
    label: str
    tone: Tone
    title: str
    lead: str
    problem: tuple[str, ...]
    remedy: str
    facts: tuple[tuple[str, str], ...]
    rejects: tuple[Reject, ...] = ()
    more: str = ""
    drift: tuple[str, ...] = ()
    preview: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    note: str = ""

    @property
    def lists_first(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Lists that are news, each with its heading."""
        return (("What became of them", self.outcomes), ("The first that failed", self.examples))

    @property
    def lists(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Lists that go with the news."""
        return (("What changed since the previous import", self.drift), ("What would be stored", self.preview))


def write_letter(notice: Notice) -> Letter:
    """What the notice says; pure, the same for the same notice. Raises ``KeyError`` when the report lacks a key."""
    report = _LATER_KEYS | notice.report
    if notice.stage is Stage.STILL_RUNNING:
        subject, label, tone, title, lead = _still_running(report, notice.created_at)
    else:
        subject, label, tone, title, lead = _HEADINGS[Stage(notice.stage)](report)
    failed, skipped = notice.stage is Stage.FAILED, notice.stage is Stage.SKIPPED
    over = failed or skipped or notice.stage is Stage.SUCCEEDED
    return Letter(
        subject=subject,
        label=label,
        tone=tone,
        title=title,
        lead=lead,
        problem=_problem(report["message"]) if (failed or skipped) and report["message"] else (),
        remedy=shown(report["remedy"], _MOST_LINE_CHARACTERS) if (failed or skipped) and report["remedy"] else "",
        facts=_facts(report, failed=failed, over=over),
        rejects=_rejects(report) if over else (),
        more=_more(report) if over else "",
        drift=_drift(report) if over else (),
        preview=_preview(report) if over else (),
        files=_files(report) if over else (),
        note=shown(notice.note, _MOST_LINE_CHARACTERS) if notice.note else "",
    )


_Heading = tuple[str, str, Tone, str, str]  # subject, label, tone, title, lead


def _picked_up(report: dict[str, Any]) -> _Heading:
    return (
        f"Picked up: {header_text(report['manifest'])}",
        "Picked up",
        Tone.NEUTRAL,
        "Your file is here, and its import has started",
        "There is nothing for you to do. Another mail tells you how it ended.",
    )


def _still_running(report: dict[str, Any], now: datetime) -> _Heading:
    since = time_between(report["received_at"], now.isoformat(), exact=False)
    waits = "Something on our side was not available; it is tried again by itself."
    if report["duplicate_of"]:
        waits = f"It is the same as the import {shown(report['duplicate_of'])}, and waits for the end of that one."
    where = {"running": "It is being carried out.", "deferred": waits}.get(report["state"], "It waits for its turn.")
    return (
        f"Still running: {header_text(report['manifest'])} - received {since} ago",
        "Still running",
        Tone.NEUTRAL,
        f"Your import is not over yet, {since} after it was received",
        f"{where} There is nothing for you to do. Another mail tells you how it ended.",
    )


def _tried(report: dict[str, Any]) -> _Heading:
    """A dry run that came to its end."""
    name, rejected = header_text(report["manifest"]), report["rows_rejected"]
    good = report["rows_read"] - rejected
    rows = f"{counted(good, 'row')} would be stored" + (f", {rejected:,} rejected" if rejected else "")
    lead = "This was a dry run, as the manifest asks: nothing was stored. To store the rows, send the data file again "
    lead += "with a manifest without dryRun."
    tone = Tone.GOOD if not rejected else Tone.MIXED if good else Tone.BAD
    return f"Dry run: {name} - {rows}", "Dry run", tone, f"{rows[0].upper()}{rows[1:]}", lead


def _succeeded(report: dict[str, Any]) -> _Heading:
    if report["dry_run"]:
        return _tried(report)
    name, stored, rejected = header_text(report["manifest"]), report["rows_stored"], report["rows_rejected"]
    if not rejected:
        rows = f"all {counted(stored, 'row')} stored" if stored > 1 else f"{counted(stored, 'row')} stored"
        title = f"{rows[0].upper()}{rows[1:]}"
        lead = "Every row of the file arrived." if stored else "The file was read to its end; there was no row in it."
        return f"Imported: {name} - {rows}", "Imported", Tone.GOOD, title, lead
    lead = "Rejected rows were not stored. Correct them and send only these again, with a manifest of their own."
    if not stored:
        rows = f"no row stored, {rejected:,} rejected"
        return f"Imported: {name} - {rows}", "Nothing stored", Tone.BAD, f"No row stored, {rejected:,} rejected", lead
    rows = f"{counted(stored, 'row')} stored, {rejected:,} rejected"
    return f"Imported: {name} - {rows}", "Imported in part", Tone.MIXED, rows, lead


def _failed(report: dict[str, Any]) -> _Heading:
    name = header_text(report["manifest"])
    brief = _brief(report["message"] or "")
    return (
        f"Import failed: {name} - {brief}" if brief else f"Import failed: {name}",
        "Import failed",
        Tone.BAD,
        "Nothing was stored",
        "This import failed, and no row of the file was kept.",
    )


def _skipped(report: dict[str, Any]) -> _Heading:
    return (
        f"Skipped: {header_text(report['manifest'])} - the same upload was imported before",
        "Skipped",
        Tone.NEUTRAL,
        "Nothing was stored again",
        "The same upload was imported before, and duplicates of this account are skipped.",
    )


_HEADINGS = {
    Stage.PICKED_UP: _picked_up,
    Stage.SUCCEEDED: _succeeded,
    Stage.FAILED: _failed,
    Stage.SKIPPED: _skipped,
}


def _brief(message: str) -> str:
    """The first clause of a message, for the subject: its quotes are ours and stay, all else as in a name."""
    clause = re.split(r"[.;:,](?:\s|$)", message.strip().partition("\n")[0], maxsplit=1)[0]
    words, brief = clause.split(), ""
    if words and words[0].istitle():  # a plain word, not a name like OpenPGP
        words[0] = words[0].lower()
    for word in words:
        safe = '"'.join(header_text(part) for part in word.split('"'))
        if len(brief) + len(safe) > 64:
            return f"{brief.rstrip()}..."
        brief += f"{safe} " if safe else ""
    return brief.rstrip()


def _problem(message: str) -> tuple[str, ...]:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    paragraphs = [shown(line, _MOST_LINE_CHARACTERS) for line in lines[:_MOST_MESSAGE_LINES]]
    if len(lines) > _MOST_MESSAGE_LINES:
        paragraphs.append(f"and {len(lines) - _MOST_MESSAGE_LINES:,} more: see the report")
    return tuple(paragraphs)


def _facts(report: dict[str, Any], *, failed: bool, over: bool) -> tuple[tuple[str, str], ...]:
    facts: list[tuple[str, str | None]] = [
        ("Manifest", shown(report["manifest"])),
        ("Data file", shown(report["data_file"]) if report["data_file"] else None),
        ("Content", _KINDS.get(report["type"] or "")),
        ("Account", shown(report["account"])),
        ("Import ID", shown(report["id"])),
        ("Received", moment(report["received_at"])),
    ]
    if failed:
        facts += [
            ("Code", shown(report["code"]) if report["code"] else None),
            ("Column", shown(report["column"]) if report["column"] else None),
        ]
    if report["signature"] not in (None, "none"):
        signature = report["signature"].replace("_", " ")
        facts.append(("Signature", shown(f"{signature}, {report['signer']}" if report["signer"] else signature)))
    if report["first_received_at"] and over:
        facts += [
            ("Same as import", shown(report["duplicate_of"])),
            ("Received then", moment(report["first_received_at"])),
        ]
    if over:
        counts = ("rows_read", "rows_stored", "rows_rejected")
        facts += [
            (key.replace("_", " ").capitalize(), f"{report[key]:,}")
            for key in counts
            if report["rows_read"] or not (failed or report["duplicate_of"])
        ]
        if report["finished_at"]:
            facts.append(("Time taken", time_between(report["received_at"], report["finished_at"])))
    return tuple((label, value) for label, value in facts if value)


def _rejects(report: dict[str, Any]) -> tuple[Reject, ...]:
    return tuple(
        Reject(str(row["row"]), shown(row["column"] or "-"), str(row["code"]), shown(row["reason"], 200))
        for row in report["rejects"][:MOST_REJECTS]
    )


def _more(report: dict[str, Any]) -> str:
    further = report["rows_rejected"] - min(len(report["rejects"]), MOST_REJECTS)
    return f"and {further:,} more: see {(_reject_path(report) or _report_path(report))}" if further > 0 else ""


def _drift(report: dict[str, Any]) -> tuple[str, ...]:
    told = tuple(shown(drift["message"], _MOST_LINE_CHARACTERS) for drift in report["drift"][:MOST_DRIFTS])
    further = len(report["drift"]) - len(told)
    return (*told, f"and {further:,} more: see {_report_path(report)}") if further > 0 else told


def _preview(report: dict[str, Any]) -> tuple[str, ...]:
    told = tuple(_previewed(report, each) for each in report["preview"][:MOST_PROPERTIES])
    further = len(report["preview"]) - len(told)
    return (*told, f"and {further:,} more: see {_report_path(report)}") if further > 0 else told


def _previewed(report: dict[str, Any], each: dict[str, Any]) -> str:
    """One property, such as ``Price (Integer): 990 filled, 42 different, 3 rejected``."""
    all_ = each["sampled"] >= report["rows_read"] - report["rows_rejected"]
    different = f"{each['distinct']:,} different" + ("" if all_ else f" in the first {each['sampled']:,} rows")
    rejected = f", {each['rejected']:,} rejected" if each["rejected"] else ""
    return f"{shown(each['name'])} ({each['data_type']}): {each['filled']:,} filled, {different}{rejected}"


def _files(report: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    rejects = _reject_path(report)
    files = [("Report (JSON)", _report_path(report))]
    if rejects:
        kept = report["rejects_in_file"]
        which = "Rejected rows" if kept == report["rows_rejected"] else f"The first {counted(kept, 'rejected row')}"
        files.append((f"{which}, encrypted to the key pair that the file came with", rejects))
    return tuple(files)


def _report_path(report: dict[str, Any]) -> str:
    return f"results/{report_name(report['manifest'], report['id'])}"


def _reject_path(report: dict[str, Any]) -> str | None:
    name = report["reject_file"]
    return f"results/{shown(name, _MOST_PATH_CHARACTERS)}" if name else None
