"""docs/standards.md is held to the code: it lists what the code cites, and names modules that exist (STYLE.md 1.9)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("manifests", "keystore", "stores", "ingest")
STATES = {"Yes", "Partial", "No"}
COLUMNS = ["section", "about", "state", "module", "how far, or why not"]

SECTION = r"§\d+(?:\.\d+)*"
CITATION = re.compile(rf"\b(RFC \d+|LibrePGP|draft-[a-z0-9-]+-\d\d)\b((?: {SECTION}(?:, {SECTION})*)?)")
# what is left of a citation in another spelling, once those of ours have been taken out
STRAY = re.compile(r"(?i)§|\brfc[ _-]?\d+|\bsections? \d")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the page."""

    standard: str
    sections: tuple[str, ...]
    state: str
    modules: tuple[str, ...]
    note: str


def rows_of(page: str) -> Iterator[Row]:
    standard = ""
    for line in page.splitlines():
        if line.startswith("## "):
            standard = line.removeprefix("## ").partition(":")[0]
        elif line.startswith("|") and set(line) != set("|-"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == len(COLUMNS), line
            if cells != COLUMNS:
                sections, _, state, modules, note = cells
                yield Row(standard, tuple(sections.split(", ")), state, tuple(re.findall(r"`(.*?)`", modules)), note)


def faults_of(page: str) -> list[str]:
    """What is wrong with the page itself."""
    faults = []
    rows = list(rows_of(page))
    for row in rows:
        name = f"{row.standard} {', '.join(row.sections)}"
        if row.state not in STATES:
            faults.append(f"{name}: the state is {row.state!r}")
        if row.state in ("Yes", "Partial") and not row.modules:
            faults.append(f"{name}: no module")
        if row.state in ("No", "Partial") and not row.note:
            faults.append(f"{name}: no reason")
        if not all(module.endswith(".py") and (ROOT / module).is_file() for module in row.modules):
            faults.append(f"{name}: there is no {', '.join(row.modules)}")
    listed = Counter((row.standard, section) for row in rows for section in row.sections)
    return faults + [f"{' '.join(section)}: listed {count} times" for section, count in listed.items() if count > 1]


def citations_of(text: str) -> Iterator[tuple[str, str]]:
    """Standard and section; the section is empty when the standard is cited as a whole."""
    for standard, sections in CITATION.findall(text):
        yield from ((standard, section) for section in re.findall(SECTION, sections) or [""])


def is_listed(standard: str, section: str, listed: Collection[tuple[str, str]]) -> bool:
    """A section, or one that it is part of; but a row of a whole chapter says nothing about its sections."""
    if not section:
        return any(standard == other for other, _ in listed)
    while (standard, section) not in listed:
        section = section.rpartition(".")[0]
        if "." not in section:
            return False
    return True


def sources() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def page() -> str:
    return (ROOT / "docs" / "standards.md").read_text()


def test_page_is_sound() -> None:
    """Each row has a state; what is implemented has a module that exists, what is not has a reason."""
    assert faults_of(page()) == []


def test_every_citation_in_the_code_is_listed() -> None:
    """Add a row to docs/standards.md, with what the code really does of the section."""
    listed = {(row.standard, section) for row in rows_of(page()) for section in row.sections}
    cited = [(name, *citation) for name, text in sources() for citation in citations_of(text)]
    assert len(cited) > 50
    assert [each for each in cited if not is_listed(each[1], each[2], listed)] == []


def test_citations_have_one_spelling() -> None:
    """``RFC 9580 §5.13.1``, on one line; ``RFC 9580 §5.1.6, §5.1.7`` for two sections of one standard."""
    strays = [
        f"{name}: {stray.group()} in {line.strip()}"
        for name, text in sources()
        for line in CITATION.sub("", text).splitlines()
        if (stray := STRAY.search(line))
    ]
    assert strays == []


HEAD = "## RFC 9580: OpenPGP\n|---|---|\n"
GOOD = "| §5.1 | x | Yes | `keystore/vault.py` | |"


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        (GOOD, ""),
        ("| §5.1 | x | Maybe | `keystore/vault.py` | y |", "state"),
        ("| §5.1 | x | Yes | | y |", "no module"),
        ("| §5.1 | x | Partial | | y |", "no module"),
        ("| §5.1 | x | Yes | `keystore/gone.py` | |", "there is no keystore/gone.py"),
        ("| §5.1 | x | Partial | `keystore/vault.py`, `keystore/gone.py` | y |", "there is no"),
        ("| §5.1 | x | Yes | `keystore` | |", "there is no"),
        ("| §5.1 | x | Partial | `keystore/vault.py` | |", "no reason"),
        ("| §5.1 | x | No | | |", "no reason"),
        (f"{GOOD}\n| §5, §5.1 | x | No | | y |", "listed 2 times"),
    ],
)
def test_fault_of_a_row_is_found(row: str, fault: str) -> None:
    faults = faults_of(HEAD + row)
    assert len(faults) == bool(fault)
    assert all(fault in each for each in faults)


@pytest.mark.parametrize(
    ("text", "unlisted"),
    [
        ("# RFC 9580 §5.1: x", []),
        ("# RFC 9580 §5.1.2: x", []),
        ("# RFC 9580: x", []),
        ("# RFC 9580 §5: x", ["§5"]),
        ("# RFC 9580 §5.2: x", ["§5.2"]),
        ("# RFC 9580 §5.13: x", ["§5.13"]),
        ("# RFC 9580 §7.1: part of a chapter", ["§7.1"]),
        ("# RFC 9580 §7, §5.1.2, §6", ["§6"]),
        ("# RFC 4880 §5.1", ["§5.1"]),
        ("# RFC 4880", [""]),
        ("# LibrePGP §5.16, not the other", ["§5.16"]),
    ],
)
def test_citation_that_is_not_listed_is_found(text: str, unlisted: list[str]) -> None:
    listed = {("RFC 9580", "§5.1"), ("RFC 9580", "§7")}
    assert [section for standard, section in citations_of(text) if not is_listed(standard, section, listed)] == unlisted


@pytest.mark.parametrize(
    "text",
    [
        "RFC9580 §5.1",
        "rfc-9580",
        "RFC 9580, section 5.1",
        "RFC 9580, §5.1",
        "RFC 9580\n§5.1",
        "RFC 9580 § 5.1",
        "§5.1",
        "Section 5.1.2",
    ],
)
def test_other_spelling_is_found(text: str) -> None:
    assert STRAY.search(CITATION.sub("", text))
