"""Planted values are looked for wherever they must not be, after imports that succeed, reject rows, and fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import NewCustomer
from tests.e2e.test_import import EVENTS, event_manifest
from tests.support.served import Instance, serving

GOOD, REJECTED = "canary-good-row", "canary-rejected-row"
PASSPHRASE = b"canary-passphrase"
DATA = EVENTS.replace("espresso", GOOD) + f"Charged,1735689780,u3,{REJECTED},no number,2025-01-07\n"


@pytest.fixture
def chatty(tmp_path: Path) -> Iterator[Instance]:
    with serving(tmp_path / "installation", SEALDROP_LOG_LEVEL="debug", SEALDROP_OPENPGP__ENGINE="gnupg") as served:
        yield served


@pytest.mark.parametrize("engine", ["native", "gnupg"])
def test_no_value_and_no_secret_is_where_it_must_not_be(
    engine: str, instance: Instance, new_customer: NewCustomer, request: pytest.FixtureRequest
) -> None:
    """FAULTS K5, M4: on disk, in the ledger, in logs at level debug, in mails, in argv and environment."""
    served: Instance = instance if engine == "native" else request.getfixturevalue("chatty")
    customer = new_customer(served=served)
    data = customer.encrypted("events.csv", DATA)
    customer.put(data, event_manifest(customer, data.name))
    (report,) = served.wait_for_imports(customer.name, 1)
    assert (report["state"], report["rows_stored"], report["rows_rejected"]) == ("succeeded", 3, 1)
    customer.put(data, event_manifest(customer, data.name, onError="abort"))
    failed = served.wait_for_imports(customer.name, 2)[1]
    assert failed["code"] == "data.too_many_errors"
    served.post.about(failed["id"], "Import failed")

    private_key = customer.pair.private_key.read_bytes().splitlines()[10]
    canaries = [GOOD.encode(), REJECTED.encode(), PASSPHRASE, private_key]
    lake = served.folder / "data" / "lake"
    files = [path for path in served.folder.rglob("*") if path.is_file() and not path.is_relative_to(lake)]
    assert len(files) > 5
    found = [(path.name, canary) for path in files for canary in canaries if canary in path.read_bytes()]
    assert found == []
    assert any(GOOD.encode() in path.read_bytes() for path in lake.rglob("*.parquet"))  # the search finds what is there
    assert not [mail["Subject"] for mail in served.post.mailbox.mails for c in canaries if c in mail.as_bytes()]
    assert served.process is not None
    service = psutil.Process(served.process.pid)
    for process in (service, *service.children(recursive=True)):
        shown = " ".join(process.cmdline()) + str(process.environ())
        assert not [canary for canary in canaries if canary.decode() in shown]
