"""All that can be seen of an installation: what two runs must agree on, whose imports have different IDs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, fields

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from sqlalchemy import select

from ingest.ledger.tables import imports, notices
from manifests.types import ImportType
from tests.crash.site import Site
from tests.crash.workload import ACCOUNTS

Facts = Counter[str]


@dataclass(frozen=True)
class Seen:
    """Counted facts in words, by where they were seen; ``rows`` are those of the lake."""

    rows: Facts
    lake_files: Facts
    imports: Facts
    files: Facts
    notices: Facts
    mails: Facts

    def differences(self, reference: Seen) -> list[str]:
        """What is there too much or missing, a few lines of each kind."""
        found = []
        for each in fields(self):
            ours, theirs = getattr(self, each.name), getattr(reference, each.name)
            for what, some in (("too much", ours - theirs), ("missing", theirs - ours)):
                found += [f"{each.name}: {what}: {fact} ({times})" for fact, times in list(some.items())[:3]]
        return found


def see(site: Site) -> Seen:
    """Look at everything; nothing goes on there."""
    with site.database.read() as connection:
        rows = connection.execute(select(imports).order_by(imports.c.account, imports.c.sequence)).mappings().all()
        written = connection.execute(select(notices)).mappings().all()
    names = {row["id"]: f"import {number}" for number, row in enumerate(rows)}

    def named(text: str) -> str:
        for import_id, name in names.items():
            text = text.replace(import_id, name)
        return text

    facts = ("account", "manifest", "data_file", "state", "code", "rows_read", "rows_stored", "rows_rejected")
    told = Counter(
        named(f"{row['id']} {[row[fact] for fact in facts]} of {row['replay_of']}, {_removed(row)}") for row in rows
    )
    sent = [(named(str(n["import_id"])), n["account"], n["stage"], n["recipient"], n["state"]) for n in written]
    return Seen(
        rows=Counter(named(row) for row in _rows(site)),
        lake_files=_lake_files(site),
        imports=told,
        files=Counter(named(file) for file in _files(site)),
        notices=Counter(map(str, sent)),
        mails=_mails(site, {n["message_id"]: f"{named(str(n['import_id']))} {n['stage']}" for n in written}),
    )


def _removed(row: object) -> str:
    assert hasattr(row, "__getitem__")
    kept = [what for what in ("files", "results") if row[f"{what}_removed_at"] is None]
    return f"kept: {kept}"


def _rows(site: Site) -> list[str]:
    found = []
    for account in ACCOUNTS:
        for kind in ImportType:
            with suppress(TableNotFoundError):
                table = DeltaTable(site.lake.folder(account, kind))
                for row in pl.scan_delta(table).drop("_received_at", "_sequence").collect().to_dicts():
                    filled = {name: value for name, value in row.items() if value is not None}
                    found.append(f"{account} {json.dumps(filled, sort_keys=True, default=str)}")
    return found


def _lake_files(site: Site) -> Facts:
    """How many files the log names, and how many lie there that nothing names: neither log nor journal."""
    found: Facts = Counter()
    for account in ACCOUNTS:
        for kind in ImportType:
            folder = site.lake.folder(account, kind)
            with suppress(TableNotFoundError):
                active = set(pl.DataFrame(DeltaTable(folder).get_add_actions(flatten=True))["path"])
                there = {path.name for path in folder.glob("*.parquet")}
                journals = folder.parent / "compactions"
                replaced = {
                    name
                    for path in journals.glob(f"{kind}-*.json")
                    for name in json.loads(path.read_bytes())["replaced"]
                }
                assert active <= there, f"{active - there} are named and not there"
                runs = sum(name.startswith("run-") for name in active)
                found[f"{account} {kind}: {len(active)} files, {runs} of them runs"] += 1
                found[f"{account} {kind}: of no use"] += len(there - active - replaced)
    return +found


def _files(site: Site) -> list[str]:
    """The files of the spool that are of interest to anybody, with what is in them where that is the same each time."""
    found = []
    for path in sorted(site.spool_root.rglob("*")):
        name = str(path.relative_to(site.spool_root))
        if not path.is_file() or name.endswith(".lock"):
            continue
        same_each_time = name.startswith("taken/") and path.name in ("manifest", "data")
        content = hashlib.sha256(path.read_bytes()).hexdigest()[:12] if same_each_time else ""
        if path.suffix == ".json":
            content = str(json.loads(path.read_bytes())["state"])
        found.append(f"{name} {content}")
    return found


def _mails(site: Site, known: dict[str, str]) -> Facts:
    """Those that arrived, each once: a relay that died over one may get it twice, under one Message-ID."""
    times = Counter(site.message_ids())
    told = [known.get(each, f"{each}: of no notice") if n <= 2 else f"{n} times one" for each, n in times.items()]
    return Counter(told)
