"""Ledgers of every schema so far, with an account and imports on their way, brought to this one (FAULTS.md W16)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine, func, inspect, select, text, update
from sqlalchemy.engine import make_url

from ingest.ledger.accounts import Accounts
from ingest.ledger.audit import lines
from ingest.ledger.database import Database
from ingest.ledger.imports import Imports
from ingest.ledger.outbox import Outbox
from ingest.ledger.queue import Queue
from ingest.ledger.tables import audit_tip, master_keys, metadata, moment_text, pgp_keys
from ingest.states import State
from keystore.audit_chain import BEFORE_THE_FIRST, next_hash
from tests.ledger.conftest import NOW, VAULT, sealed
from tests.support.postgres import Postgres

THEN = moment_text(NOW)
LEASE = timedelta(seconds=60)


def _versions() -> list[str]:
    configuration = Config()
    configuration.set_main_option("script_location", "ingest.ledger:migrations")
    return sorted(script.revision for script in ScriptDirectory.from_config(configuration).walk_revisions())


def _import(number: int, state: str, **more: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("attempts", "lost", "fence", "rows_read", "rows_stored", "rows_rejected"), 0)
    names = {"id": f"import-{number}", "account": "acme", "manifest": "m.manifest", "data_file": "m.csv.asc"}
    return {
        **counts,
        **names,
        "sequence": number,
        "state": state,
        "received_at": THEN,
        "rejects_in_file": 0,
        "dry_run": False,
        **more,
    }


def _notice(number: int, state: str) -> dict[str, Any]:
    facts = {"import_id": "import-3", "stage": "failed", "recipient": f"{number}@acme.example", "report": {"id": "x"}}
    moments = {"created_at": THEN, "next_attempt_at": THEN}
    return {**facts, **moments, "id": number, "account": "acme", "message_id": f"<{number}>", "state": state} | {
        "channel": "mail",
        "occasion": 0,
        "attempts": 0,
        "perhaps_taken": False,
    }


# every column that ever had to be given; of a schema the ones that it has are used
_SWITCHES = (
    "require_encryption",
    "allow_reserved_events",
    "allow_legacy_ciphers",
    "allow_gnupg",
    "hpke_enabled",
    "skip_duplicates",
)
_ROWS: dict[str, list[dict[str, Any]]] = {
    "vault_check": [{"id": 1, "sealed": sealed(b"check")}],
    "master_keys": [{"id": bytes.fromhex(VAULT.master_key_id), "sealed": sealed(b"check"), "since": THEN}],
    "accounts": [
        {
            "id": "acme",
            "state": "active",
            "allowed_domains": ["acme.example"],
            "created_at": THEN,
            **dict.fromkeys((*_SWITCHES, "hpke_entitled", "hpke_enforced"), True),
        }
    ],
    "contacts": [{"account": "acme", "address": "data@acme.example"}],
    "ssh_keys": [
        {
            "account": "acme",
            "slot": 1,
            "fingerprint": "SHA256:x",
            "public_key": "ssh-ed25519 x",
            "created_at": THEN,
            "cert_authority": False,
        }
    ],
    "pgp_keys": [
        {
            "key_id": "key-1",
            "version": 1,
            "account": "acme",
            "slot": 1,
            "state": "active",
            "fingerprint": "F",
            "algorithm": "cv25519",
            "user_ids": [],
            "created_at": THEN,
            "signatures": "verify",
            "public_key": b"p",
            "sealed_private_key": sealed(b"private"),
            "sealed_passphrase": None,
        }
    ],
    "imports": [
        _import(1, "running", fence=1, attempts=1, lease_until=THEN),
        _import(2, "ready"),
        _import(3, "failed", code="data.header", finished_at=THEN),
        _import(4, "received"),
    ],
    "notices": [_notice(1, "pending"), _notice(2, "sent")],
}


def _fill(engine: Engine) -> None:
    """Put in what an installation of that schema has."""
    reflected = MetaData()
    reflected.reflect(engine)
    with engine.begin() as connection:
        for name, rows in _ROWS.items():
            if (table := reflected.tables.get(name)) is not None:
                for row in rows:
                    connection.execute(table.insert().values({k: v for k, v in row.items() if k in table.c}))
        if engine.dialect.name == "postgresql":  # the numbers were given here, not taken
            for name, column in (("imports", "sequence"), ("notices", "id")):
                connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', '{column}'), 100)"))
        texts = {
            "at": THEN,
            "actor": "a",
            "action": "account.add",
            "account": "acme",
            "subject": "s",
            "outcome": "done",
        }
        line_hash = next_hash(BEFORE_THE_FIRST, ("1", *texts.values()))
        audit = reflected.tables["audit"]
        connection.execute(
            audit.insert().values({"id": 1, **texts, **({"hash": line_hash} if "hash" in audit.c else {})})
        )
        if "audit_tip" in reflected.tables:
            connection.execute(update(audit_tip).values(line=1, hash=line_hash))


def _schema(engine: Engine) -> dict[str, Any]:
    """What can be seen of the tables; not the names that nobody gave, nor defaults, which the program has."""
    seen, found = inspect(engine), {}
    for table in sorted(set(seen.get_table_names()) - {"alembic_version"}):
        found[table] = {
            "columns": {
                column["name"]: (str(column["type"]), column["nullable"], bool(column.get("computed")))
                for column in seen.get_columns(table)
            },
            "primary key": seen.get_pk_constraint(table)["constrained_columns"],
            "foreign keys": sorted(
                (*key["constrained_columns"], key["referred_table"], *key["referred_columns"])
                for key in seen.get_foreign_keys(table)
            ),
            "unique": sorted(
                (str(constraint["name"]), *constraint["column_names"])
                for constraint in seen.get_unique_constraints(table)
            ),
            "checks": sorted(
                (str(check["name"]), " ".join(check["sqltext"].split())) for check in seen.get_check_constraints(table)
            ),
            "indexes": sorted(
                (str(index["name"]), bool(index["unique"]), *map(str, index["column_names"]))
                for index in seen.get_indexes(table)
            ),
        }
    return found


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where nothing is yet."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.url(server.new())


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    """The schema that the tables say, by engine; made once."""
    return {}


@pytest.fixture
def wanted(empty: str, schemas: dict[str, Any], tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """The schema that the tables say, on the same engine."""
    name = make_url(empty).get_backend_name()
    if name not in schemas:
        url = f"sqlite:///{tmp_path / 'wanted.db'}"
        if name == "postgresql":
            server: Postgres = request.getfixturevalue("postgres")
            url = server.url(server.new())
        engine = create_engine(url)
        metadata.create_all(engine)
        schemas[name] = _schema(engine)
        engine.dispose()
    return schemas[name]


@pytest.fixture(params=_versions())
def upgraded(request: pytest.FixtureRequest, empty: str) -> Iterator[Database]:
    """A ledger that was made by an earlier version, and opened by this one."""
    with closing(Database(empty)) as older:
        older.migrate(request.param)
        _fill(older.engine)
    with closing(Database(empty)) as database:
        database.migrate()
        yield database


def test_upgraded_ledger_has_the_schema_of_the_tables_and_all_that_was_in_it(
    upgraded: Database, wanted: dict[str, Any]
) -> None:
    """FAULTS.md W16, W18: and what was on its way goes on."""
    assert _schema(upgraded.engine) == wanted
    account = Accounts(upgraded).get("acme")
    assert account is not None
    assert (account.contacts, [key.fingerprint for key in account.ssh_keys]) == (("data@acme.example",), ["SHA256:x"])
    with upgraded.read() as connection:
        assert connection.execute(select(pgp_keys.c.sealed_private_key_under, pgp_keys.c.version)).one() == (
            bytes.fromhex(VAULT.master_key_id),
            1,
        )
        assert connection.scalar(select(func.count()).select_from(master_keys)) == 1
        (line,) = lines(connection)
        assert line.follows(BEFORE_THE_FIRST)
        assert connection.scalar(select(audit_tip.c.hash)) == line.hash
    imports, queue, later = Imports(upgraded), Queue(upgraded, lease=LEASE), NOW + LEASE
    assert [report.id for report in imports.newest()] == ["import-4", "import-3", "import-2", "import-1"]
    assert [one.id for one in imports.received("acme")] == ["import-4"]
    claims = [queue.claim(later) for _ in range(3)]
    assert [(lease.report.id, lease.lost) for lease in claims if lease is not None] == [
        ("import-1", 1),
        ("import-2", 0),
    ]
    imports.receive("import-5", "acme", "m.manifest", None, NOW, state=State.READY)
    assert imports.newest(limit=1)[0].id == "import-5"
    assert [notice.recipient for notice in Outbox(upgraded).due(later, 10)] == ["1@acme.example"]
