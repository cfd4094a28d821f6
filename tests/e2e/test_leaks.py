"""Planted values are looked for wherever they must not be: after imports that succeed, reject, fail, or are killed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import NewCustomer
from tests.e2e.test_import import EVENTS, event_manifest
from tests.support.customer import Customer
from tests.support.served import Instance, serving, wait_for

pytestmark = pytest.mark.alone  # it looks at what other processes of this user leave behind

GOOD, REJECTED = b"canary-good-row", b"canary-rejected-row"
PASSPHRASE = b"canary-passphrase"
ROW = "Charged,1735689780,u3,{},3,2025-01-07\n"
DATA = EVENTS.replace("espresso", GOOD.decode()) + ROW.format(REJECTED.decode()).replace(",3,", ",no number,")
# where a gpg home can lie, for as long as gpg reads a message
HOMES = [Path("/dev/shm"), Path("/tmp")]
CHATTY = {"SEALDROP_LOG_LEVEL": "debug", "SEALDROP_WORKER__CHUNK_BYTES": "50000", "SEALDROP_WORKER__LEASE_S": "2"}


@pytest.fixture(params=["native", "gnupg"])
def chatty(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Instance]:
    with serving(tmp_path / "installation", SEALDROP_OPENPGP__ENGINE=request.param, **CHATTY) as served:
        yield served


def canaries_of(served: Instance, customer: Customer) -> list[bytes]:
    """Cells, passphrases, private keys and the master key; also of what is made here: a pair and a keyset."""
    folder = customer.folder / "made"
    made = served.json("key", "generate", customer.name, "--type", "cv25519", "--out", folder)
    served.run("keyset", "generate", customer.name)
    served.run("vault", "rotate")
    generated = Path(made["private_key_file"]).read_bytes().splitlines()
    return [
        GOOD,
        REJECTED,
        PASSPHRASE,
        customer.pair.private_key.read_bytes().splitlines()[10],
        Path(made["passphrase_file"]).read_bytes().strip(),
        max(generated, key=len),
        *(key.read_bytes().strip() for key in served.folder.glob("master.key*")),
    ]


def on_disk(served: Instance) -> list[Path]:
    """All files of the installation but the lake and the master keys, and what gpg homes hold."""
    lake = served.folder / "data" / "lake"
    own = [path for path in served.folder.rglob("*") if not path.is_relative_to(lake)]
    homes = [path for parent in HOMES for home in parent.glob("sealdrop-gpg-*") for path in home.rglob("*")]
    return [path for path in own + homes if path.is_file() and not path.name.startswith("master.key")]


def places_of(canaries: list[bytes], served: Instance) -> list[str]:
    """Where one of them stands: on disk, in mails, in argv or the environment of a process of ours."""
    places = []
    for path in on_disk(served):
        with contextlib.suppress(FileNotFoundError):  # a gpg home that has just gone
            content = path.read_bytes()
            places += [str(path) for canary in canaries if canary in content]
    mails = [(mail["Subject"], mail.as_bytes()) for mail in served.post.mailbox.mails]
    places += [f"mail: {subject}" for subject, content in mails for canary in canaries if canary in content]
    assert served.process is not None
    if served.process.poll() is None:
        service = psutil.Process(served.process.pid)
        for process in (service, *service.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                shown = " ".join(process.cmdline()) + str(process.environ())
                places += [process.name() for canary in canaries if canary.decode("latin-1") in shown]
    return places


def test_no_value_and_no_secret_is_where_it_must_not_be(chatty: Instance, new_customer: NewCustomer) -> None:
    """FAULTS K5, K6, H10, M4: after a full run, while an import runs, after SIGKILL in its middle, and at its end."""
    customer = new_customer(served=chatty)
    canaries = canaries_of(chatty, customer)
    data = customer.encrypted("events.csv", DATA)
    customer.put(data, event_manifest(customer, data.name))
    (report,) = chatty.wait_for_imports(customer.name, 1)
    assert (report["state"], report["rows_stored"], report["rows_rejected"]) == ("succeeded", 3, 1)
    customer.put(data, event_manifest(customer, data.name, onError="abort"))
    failed = chatty.wait_for_imports(customer.name, 2)[1]
    assert failed["code"] == "data.too_many_errors"
    chatty.post.about(failed["id"], "Import failed")
    assert len(on_disk(chatty)) > 5
    assert places_of(canaries, chatty) == []
    stored = (chatty.folder / "data" / "lake").rglob("*.parquet")
    assert any(GOOD in path.read_bytes() for path in stored), "the search finds what is there"

    large = customer.encrypted("large.csv", EVENTS + "".join(ROW.format(GOOD.decode()) for _ in range(200_000)))
    customer.put(large, event_manifest(customer, large.name))
    wait_for(lambda: True if chatty.imports(customer.name)[-1]["state"] == "running" else None)
    assert places_of(canaries, chatty) == []
    chatty.kill()
    assert places_of(canaries, chatty) == []
    chatty.start()
    assert chatty.wait_for_imports(customer.name, 3)[2]["rows_stored"] == 200_003
    assert places_of(canaries, chatty) == []
