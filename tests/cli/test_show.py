"""What a person sees at a terminal of 80 columns."""

from __future__ import annotations

import pytest
from rich.console import Console

from ingest.cli import show

KEY_ID = "ec491319-9823-48cd-b6a1-6bb0bc666d75"


@pytest.fixture(autouse=True)
def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(force_terminal=True, width=80, highlight=False, soft_wrap=True, color_system=None)
    monkeypatch.setattr(show, "out", console)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_table_folds_its_last_column_only(capsys: pytest.CaptureFixture[str]) -> None:
    show.print_table(("key ID", "reason"), [(KEY_ID, "word " * 20)], empty="")
    printed = lines(capsys)
    assert printed[1].startswith(KEY_ID)
    assert len(printed) > 2
    assert max(map(len, printed)) <= 80


def test_table_that_does_not_fit_becomes_names_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(KEY_ID, KEY_ID, "one"), (KEY_ID, KEY_ID, "two")]
    show.print_table(("key ID", "other", "state"), rows, empty="")
    assert lines(capsys) == [
        f"key ID  {KEY_ID}",
        f"other   {KEY_ID}",
        "state   one",
        "",
        f"key ID  {KEY_ID}",
        f"other   {KEY_ID}",
        "state   two",
    ]


def test_facts_fold_between_words_and_keep_long_words_whole(capsys: pytest.CaptureFixture[str]) -> None:
    path = "/" + "folder/" * 15
    show.print_facts({"remedy": "word " * 30, "file": path, "nothing": None, "empty": ""})
    printed = lines(capsys)
    assert printed[0].startswith("remedy   word")
    assert all(line.startswith("         word") for line in printed[1:-1])
    assert max(len(line) for line in printed[:-1]) <= 80
    assert printed[-1] == f"file     {path}"
