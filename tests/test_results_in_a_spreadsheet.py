"""The reject file, opened by LibreOffice where it is installed; what holds without it stands in test_results."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ingest.report import RejectedRow
from ingest.results import reject_csv

SOFFICE = shutil.which("soffice")
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",
    '=HYPERLINK("http://x")',
    '";=1+1;"',
]

pytestmark = pytest.mark.skipif(SOFFICE is None, reason="LibreOffice is not installed")


def opened(folder: Path, content: bytes) -> list[ElementTree.Element]:
    """The cells that LibreOffice makes of a CSV file, with formulas allowed as in its dialogue."""
    (folder / "rejects.csv").write_bytes(content)
    profile = f"-env:UserInstallation={(folder / 'profile').as_uri()}"
    infilter = "--infilter=CSV:44,34,UTF8,1,,0,false,true,false,false,false,-1"
    command = [str(SOFFICE), profile, "--headless", infilter, "--convert-to", "fods", "--outdir", str(folder)]
    subprocess.run([*command, str(folder / "rejects.csv")], check=True, capture_output=True, timeout=120)
    made = next(iter(folder.glob("rejects*.fods")))
    return [cell for cell in ElementTree.parse(made).iter(f"{TABLE}table-cell") if len(cell)]


def test_no_cell_of_the_reject_file_is_a_formula(tmp_path: Path) -> None:
    """FAULTS D9."""
    rejects = [(RejectedRow(row, cell, 601, cell), [cell]) for row, cell in enumerate(FORMULAS, start=1)]
    cells = opened(tmp_path, reject_csv(["=1+1"], rejects))
    assert len(cells) > 3 * len(FORMULAS)  # equal ones beside each other are one
    assert not any(cell.get(f"{TABLE}formula") for cell in cells)
    (tmp_path / "control").mkdir()
    unguarded = opened(tmp_path / "control", b'"=1+1"\r\n')
    assert any(cell.get(f"{TABLE}formula") for cell in unguarded)
