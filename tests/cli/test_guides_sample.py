"""The guide's sample manifest, as printed there: refused with words that help, and, once mended, it works."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Desk
from tests.support.guide import PRINTED

DATA = """event_name,time_stamp,identity,item_name,item_price,item_delivery_date
Charged,1735689600,u1,Lamp,49,2025-01-07
Charged,1735689601,u2,"Chair, oak",120,2025-01-09
"""


@pytest.fixture
def acme(desk: Desk) -> Desk:
    desk.encrypted("parastest31.csv.asc", DATA, desk.account_with_pair())
    return desk


def test_sample_as_printed_gets_two_messages_that_help(acme: Desk) -> None:
    file = acme.write("file.manifest", PRINTED)
    told = acme.bare("manifest", "check", file, code=1).err.splitlines()
    problem, note = (line for line in told if line.startswith(str(file)))
    assert problem.startswith(f"{file}:12:18: clientEmail: is a Markdown link")
    assert "write only the address, such as name@example.com" in problem
    assert note == (f"{file}:13:50: note: a comment is accepted here, but it is not JSON: other programs refuse it")
    report = acme.json("import", "run", "acme", file, code=1)
    assert (report["state"], report["code"]) == ("failed", "manifest.invalid")
    assert "line 12, column 18: clientEmail: is a Markdown link" in report["message"]
    assert "line 13, column 50: a comment is accepted here" in report["message"]


def test_sample_with_its_placeholders_mended_works(acme: Desk) -> None:
    (key,) = acme.json("key", "list", "acme")
    mended = PRINTED.replace("[[email\u00a0protected]](mailto:[email\u00a0protected])", "data@acme.example")
    mended = mended.replace("ec491319-9823-48cd-b6a1-6bb0bc666d75", key["key_id"])
    report = acme.json("import", "run", "acme", acme.write("file.manifest", mended))
    assert (report["state"], report["rows_stored"], report["rows_rejected"]) == ("succeeded", 2, 0)
    newest = acme.json("events", "list", "acme")[0]
    assert newest["ts"] == "2025-01-01T00:00:01Z"
    names = ("identity", "evtName", "Name", "item_price", "DeliveryDate")
    assert [newest[name] for name in names] == ["u2", "Charged", "Chair, oak", 120, "2025-01-09"]
