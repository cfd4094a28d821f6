from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from ingest.notices.compose import html_of, text_of
from ingest.notices.display import time_between
from ingest.notices.letter import MOST_REJECTS, Tone, write_letter
from ingest.notices.notice import Notice, Stage
from ingest.report import Drift, PropertyPreview
from tests.notices.samples import ID, RECEIVED, notice, rejects


def skipped() -> Notice:
    return notice(
        Stage.SKIPPED,
        state="skipped",
        message="Byte for byte the same as the import 7.",
        remedy="Nothing to do, if it was sent by mistake.",
        duplicate_of="20261121t080411-7",
        first_received_at=RECEIVED - timedelta(days=1),
    )


def test_picked_up_promises_another_mail() -> None:
    letter = write_letter(notice(Stage.PICKED_UP, state="running", finished_at=None))
    assert letter.subject == "Picked up: users.manifest"
    assert "Another mail" in letter.lead
    assert not letter.files


@pytest.mark.parametrize("stage", Stage)
def test_notice_that_waited_over_an_upgrade_is_still_written(stage: Stage) -> None:
    """FAULTS W16: its report has the keys of the version that enqueued it."""
    now = notice(stage, message="something", remedy="do it")
    first = {
        "pair",
        "signature",
        "signer",
        "dry_run",
        "columns",
        "drift",
        "preview",
        "duplicate_of",
        "first_received_at",
    }
    before = replace(now, report={key: value for key, value in now.report.items() if key not in first})
    assert write_letter(before) == write_letter(now)


@pytest.mark.parametrize(
    ("read", "stored", "rejected", "ending", "tone"),
    [
        (1000, 1000, 0, "all 1,000 rows stored", Tone.GOOD),
        (1, 1, 0, "1 row stored", Tone.GOOD),
        (0, 0, 0, "0 rows stored", Tone.GOOD),
        (1000, 998, 2, "998 rows stored, 2 rejected", Tone.MIXED),
        (3, 0, 3, "no row stored, 3 rejected", Tone.BAD),
    ],
)
def test_subject_of_success_counts_rows(read: int, stored: int, rejected: int, ending: str, tone: Tone) -> None:
    letter = write_letter(notice(rows_read=read, rows_stored=stored, rows_rejected=rejected, rejects=rejects(rejected)))
    assert letter.subject == f"Imported: users.manifest - {ending}"
    assert letter.tone is tone


def test_success_without_rejects_says_that_every_row_arrived() -> None:
    assert write_letter(notice(rows_read=5, rows_stored=5)).lead == "Every row of the file arrived."


def test_failure_names_column_code_reason_and_remedy() -> None:
    letter = write_letter(
        notice(
            Stage.FAILED,
            state="failed",
            code="data.header",
            column="price",
            message='The column "price" is missing; the closest is "prise".',
            remedy="Correct the header.",
        )
    )
    assert letter.subject == 'Import failed: users.manifest - the column "price" is missing'
    assert letter.title == "Nothing was stored"
    assert letter.problem == ('The column "price" is missing; the closest is "prise".',)
    assert letter.remedy == "Correct the header."
    assert ("Code", "data.header") in letter.facts
    assert ("Column", "price") in letter.facts


def test_duplicate_is_told_with_the_first_and_what_to_do() -> None:
    """FAULTS.md W3."""
    letter = write_letter(skipped())
    assert letter.subject == "Skipped: users.manifest - the same upload was imported before"
    assert letter.tone is Tone.NEUTRAL
    assert letter.title == "Nothing was stored again"
    assert letter.problem == ("Byte for byte the same as the import 7.",)
    assert letter.remedy == "Nothing to do, if it was sent by mistake."
    assert ("Same as import", "20261121t080411-7") in letter.facts
    assert ("Received then", "2026-11-21 08:04:11 UTC") in letter.facts
    assert not [label for label, _ in letter.facts if label.startswith("Rows")]
    for body in (text_of(letter), html_of(letter)):
        for words in (
            *letter.problem,
            letter.remedy,
            "20261121t080411-7",
            "2026-11-21 08:04:11 UTC",
            letter.files[0][1],
        ):
            assert words in " ".join(body.split())


def test_problems_of_a_manifest_are_a_list() -> None:
    letter = write_letter(
        notice(
            Stage.FAILED, state="failed", data_file=None, type=None, message="The manifest has 2 problems:\n- a\n- b"
        )
    )
    assert letter.subject == "Import failed: users.manifest - the manifest has 2 problems"
    assert letter.problem == ("The manifest has 2 problems:", "- a", "- b")


def test_many_problems_are_cut_with_their_number() -> None:
    message = "\n".join(["The manifest has 500 problems:", *(f"- problem {n}" for n in range(500))])
    letter = write_letter(notice(Stage.FAILED, state="failed", message=message))
    assert len(letter.problem) == 41
    assert letter.problem[-1] == "and 461 more: see the report"


@pytest.mark.parametrize(
    ("message", "brief"),
    [
        ("OpenPGP armor is cut, so nothing was read.", "OpenPGP armor is cut"),
        ("A quote in row 7 is never closed.", "a quote in row 7 is never closed"),
        ("many long words " * 20, "many long words many long words many long words many long words..."),
    ],
)
def test_subject_of_failure_has_the_first_clause(message: str, brief: str) -> None:
    letter = write_letter(notice(Stage.FAILED, state="failed", message=message))
    assert letter.subject == f"Import failed: users.manifest - {brief}"


def test_failure_without_message_has_a_subject() -> None:
    assert write_letter(notice(Stage.FAILED, state="failed")).subject == "Import failed: users.manifest"


def test_rejected_rows_are_cut_and_the_rest_is_pointed_to() -> None:
    name = f"users.manifest.{ID}.rejects.csv.asc"
    letter = write_letter(
        notice(rows_read=9000, rows_stored=1000, rows_rejected=8000, rejects=rejects(100), reject_file=name)
    )
    assert len(letter.rejects) == MOST_REJECTS
    assert letter.more == f"and 7,990 more: see results/{name}"
    assert f"results/{name}" in dict(letter.files).values()


def test_rejected_rows_point_to_the_report_when_there_is_no_reject_file() -> None:
    letter = write_letter(notice(rows_read=50, rows_stored=20, rows_rejected=30, rejects=rejects(30)))
    assert letter.more == f"and 20 more: see results/users.manifest.{ID}.json"


def test_all_rejected_rows_shown_leave_no_more() -> None:
    assert write_letter(notice(rows_read=12, rows_stored=2, rows_rejected=10, rejects=rejects(10))).more == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 seconds"),
        (0.04, "0 seconds"),
        (0.44, "0.4 seconds"),
        (1, "1 second"),
        (2.4, "2.4 seconds"),
        (59.96, "1 minute"),
        (61, "1 minute 1 second"),
        (192.4, "3 minutes 12 seconds"),
        (3599.9, "1 hour"),
        (3840, "1 hour 4 minutes"),
    ],
)
def test_time_taken_is_in_words(seconds: float, words: str) -> None:
    assert time_between(RECEIVED.isoformat(), (RECEIVED + timedelta(seconds=seconds)).isoformat()) == words


PREVIEW = (
    PropertyPreview("Price", "Integer", filled=990, distinct=42, sampled=1000, rejected=3),
    PropertyPreview("City", "String", filled=5, distinct=5, sampled=1000, rejected=0),
)


def test_dry_run_says_that_nothing_was_stored_and_what_would_be() -> None:
    letter = write_letter(notice(dry_run=True, rows_read=1003, rows_rejected=3, preview=PREVIEW))
    assert letter.subject == "Dry run: users.manifest - 1,000 rows would be stored, 3 rejected"
    assert "nothing was stored" in letter.lead
    assert "dryRun" in letter.lead
    assert letter.tone is Tone.MIXED
    assert letter.preview == (
        "Price (Integer): 990 filled, 42 different, 3 rejected",
        "City (String): 5 filled, 5 different",
    )
    sampled = write_letter(notice(dry_run=True, rows_read=2000, preview=PREVIEW[1:]))
    assert sampled.preview == ("City (String): 5 filled, 5 different in the first 1,000 rows",)
    assert sampled.tone is Tone.GOOD
    assert write_letter(notice(dry_run=True, rows_read=1, rows_rejected=1)).tone is Tone.BAD


def test_what_changed_since_the_previous_import_is_told_up_to_a_limit() -> None:
    drift = tuple(Drift("column.new", f"c{number}", f'The column "c{number}" is new.') for number in range(12))
    told = write_letter(notice(rows_stored=1, drift=drift)).drift
    assert told[0] == 'The column "c0" is new.'
    assert len(told) == 11
    assert told[-1].startswith("and 2 more: see results/")
    assert write_letter(notice(Stage.PICKED_UP, drift=drift)).drift == ()


def test_drift_and_preview_stand_in_both_versions_of_a_mail() -> None:
    drift = (Drift("column.new", "<b>", 'The column "<b>" is new.'),)
    letter = write_letter(notice(dry_run=True, rows_read=5, drift=drift, preview=PREVIEW))
    text, html = text_of(letter), html_of(letter)
    assert '- The column "<b>" is new.' in text
    assert "<b>" not in html
    assert "Price (Integer): 990 filled" in text
    assert "Price (Integer): 990 filled" in html
