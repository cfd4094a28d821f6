"""The pages below docs/ say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ingest.reference import PAGES
from ingest.settings import Settings
from manifests.codes import ROW_CODES

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", PAGES)
def test_page_is_what_the_code_says(name: str) -> None:
    """`make docs` writes them anew."""
    assert (ROOT / "docs" / name).read_text() == PAGES[name]()


def test_every_setting_and_code_is_explained() -> None:
    configuration, codes = PAGES["configuration.md"](), PAGES["codes.md"]()
    for section in Settings.model_fields:
        assert section in configuration
    assert "None |" not in configuration
    assert all(f"| {code} |" in codes for code in ROW_CODES)


def test_decisions_are_numbered_without_gaps() -> None:
    numbers = sorted(int(path.name[:4]) for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"))
    assert numbers == list(range(1, len(numbers) + 1))


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
