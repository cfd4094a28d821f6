"""A served installation with its ledger on PostgreSQL, which goes away, cuts connections and refuses: all goes on."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
from sqlalchemy.engine import make_url

from ingest.demo.sender import SenderFailed
from ingest.ledger.deliveries import Deliveries
from tests.support.customer import Customer, GpgHome, PgpPair
from tests.support.postgres import Postgres
from tests.support.served import Instance, serving, wait_for

OWNER = "service"
CSV = "identity,evtName\n" + "".join(f"u{n},Charged\n" for n in range(50))
QUICK = {
    "SEALDROP_MAIL__POLL_S": "0.2",
    "SEALDROP_WATCH__RESCAN_S": "0.3",
    "SEALDROP_WORKER__POLL_S": "0.2",
    "SEALDROP_WORKER__PROCESSES": "1",
}

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def database(postgres: Postgres) -> str:
    """The name of the ledger's database, whose owner is no superuser: limits are for others."""
    name = postgres.new()
    postgres.tell(f"CREATE ROLE {OWNER} LOGIN")
    postgres.tell(f"ALTER DATABASE {name} OWNER TO {OWNER}")
    return name


@pytest.fixture(scope="module")
def served(postgres: Postgres, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    folder = tmp_path_factory.mktemp("served") / "installation"
    url = make_url(postgres.url(database)).set(username=OWNER).render_as_string()
    with serving(folder, SEALDROP_LEDGER_URL=url, **QUICK) as instance:
        yield instance


@pytest.fixture
def customer(served: Instance, gpg: GpgHome, curve25519: PgpPair, tmp_path: Path) -> Customer:
    return Customer(served, f"customer{next(_numbers)}", tmp_path / "customer", gpg, curve25519)


def files(customer: Customer, number: int = 1) -> tuple[Path, Path]:
    data = customer.encrypted(f"events{number}.csv", CSV)
    return data, customer.manifest(f"events{number}.manifest", fileName=data.name, type="event")


def assert_stored_once(served: Instance, customer: Customer, count: int = 1) -> None:
    """Each import with all its rows, one of each notice, and of each mail."""
    reports = served.wait_for_imports(customer.name, count)
    assert [(report["state"], report["rows_stored"]) for report in reports] == [("succeeded", 50)] * count
    assert served.lake_events(customer.name).height == 50 * count
    for report in reports:
        served.post.about(report["id"], "Imported")
        assert served.post.count(report["id"]) == 2, "picked up and imported"
        told = [delivery.stage for delivery in Deliveries(served.ledger).of_import(report["id"])]
        assert told == ["picked_up", "succeeded"]


async def logged_in(customer: Customer) -> None:
    """Log in with a client that tells why it could not."""
    place = {"host": "127.0.0.1", "port": customer.instance.port, "username": customer.name}
    async with asyncssh.connect(**place, client_keys=[str(customer.folder / "id_ed25519")], known_hosts=None):
        pass


def assert_is_refused(customer: Customer, *sent: Path) -> None:
    with pytest.raises(SenderFailed):
        customer.put(*sent)
    with pytest.raises(asyncssh.ServiceNotAvailable, match="Logins cannot be checked now"):
        asyncio.run(logged_in(customer))


def test_server_that_stops_in_the_middle_of_a_session(
    postgres: Postgres, served: Instance, customer: Customer, tmp_path: Path
) -> None:
    """FAULTS.md W5: who is logged in goes on sending, others are told to come again; nothing of it is stored yet."""
    data, manifest = files(customer)
    half, away = tmp_path / "half", tmp_path / "away"
    wait = f"!touch {half}; while [ ! -e {away} ]; do sleep 0.05; done"
    session = threading.Thread(target=customer.sftp, args=(f"put {data}", wait, f"put {manifest}"))
    session.start()
    wait_for(lambda: half.exists() or None)
    postgres.stop()
    try:
        try:
            assert_is_refused(customer, manifest)
        finally:
            away.touch()
            session.join()
        drop = served.folder / "data" / "spool" / "drops" / customer.name
        assert {data.name, manifest.name} <= {path.name for path in drop.iterdir()}
        assert served.lake_events(customer.name).height == 0
    finally:
        postgres.start()
    assert_stored_once(served, customer)


def test_connections_that_are_ended_again_and_again(
    postgres: Postgres, database: str, served: Instance, customer: Customer
) -> None:
    """FAULTS.md W5, W6: while files are taken, imported and told of."""
    customer.put(*(file for number in (1, 2, 3) for file in files(customer, number)))
    for _ in range(20):
        postgres.end_connections(database)
    assert_stored_once(served, customer, 3)


def test_server_that_only_reads(postgres: Postgres, database: str, served: Instance, customer: Customer) -> None:
    """FAULTS.md W5: as after a failover to a standby; files are taken in, and no worker ends of it."""
    sent = files(customer)
    workers = [worker.pid for worker in served.workers()]
    logged = len(served.log.read_bytes())
    postgres.tell(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    try:
        postgres.end_connections(database)
        customer.put(*sent)
        wait_for(lambda: b"read-only transaction" in served.log.read_bytes()[logged:] or None)
        assert served.imports(customer.name) == []
    finally:
        postgres.tell(f"ALTER DATABASE {database} RESET default_transaction_read_only")
    postgres.end_connections(database)
    assert_stored_once(served, customer)
    assert [worker.pid for worker in served.workers()] == workers


def test_server_that_has_no_connection_left(
    postgres: Postgres, database: str, served: Instance, customer: Customer
) -> None:
    """FAULTS.md W5."""
    sent = files(customer)
    postgres.tell(f"ALTER DATABASE {database} CONNECTION LIMIT 0")
    try:
        postgres.end_connections(database)
        assert_is_refused(customer, *sent)
        assert b"too many connections" in served.log.read_bytes()
    finally:
        postgres.tell(f"ALTER DATABASE {database} CONNECTION LIMIT -1")
    customer.put(*sent)
    assert_stored_once(served, customer)
