"""What is not on the way of an import: recovery, the sweeper, compaction, imports by hand, another try, rarer notices.

An errand begins on an installation that stands still and has a past (`make_past`). Something is to be done, by the real
command or by a service that starts; the process dies at its failpoint, with ``loss`` the power goes as well; then it is
asked for once more, and a service runs until nothing is left to do. All that can be seen then is compared with what is
there when nobody dies (`seen`).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deltalake import DeltaTable
from sqlalchemy import delete, func, select, update

from ingest.app import App
from ingest.by_hand import receive
from ingest.ledger.imports import Imports
from ingest.ledger.tables import firsts, imports, notices, sweeps, timeline
from ingest.settings import load_settings
from ingest.states import ENDS, State
from manifests.types import ImportType
from tests.crash.power import Disk
from tests.crash.round_trip import bring_notices_forward
from tests.crash.seen import Seen, see
from tests.crash.site import Site, wait_until
from tests.crash.verdict import Watch
from tests.crash.workload import ITEMS, Template

_LONG_AGO = timedelta(days=500)
_QUIET = {"SEALDROP_RETENTION__ARCHIVE_DAYS": "30"}


@dataclass(frozen=True)
class Errand:
    """``points`` lie on its way. ``commands`` is what is still to be asked for; nothing when a service does it.

    ``is_over`` says when such a service is through, ``afterwards`` are commands that no failpoint stops. A loss of
    power is tried up to the passing ``most_losses_at``.
    """

    points: tuple[str, ...]
    prepare: Callable[[Site], None]
    commands: Callable[[Site], Sequence[Sequence[str]]] = lambda _site: ()
    is_over: Callable[[Site], bool] = lambda _site: True
    afterwards: Sequence[Sequence[str]] = ()
    beside_service: bool = False
    most_losses_at: int = 1000
    environment: Mapping[str, str] = field(default_factory=dict)


async def run_errand(
    site: Site, errand: Errand, *, at: int | None, power: bool = False
) -> tuple[bool, Seen, list[str]]:
    """Do it over a death at the ``at``-th passing, or without one; with ``power`` all dies then.

    Tells whether there was a death, what is there in the end, and what a reader met that looked on.
    """
    point, site.point = site.point, None
    errand.prepare(site)
    site.set_environment(**_QUIET, **errand.environment)
    disk = Disk(site.folder / "data", site.folder / "durable") if power else None
    if disk is not None:
        site.set_environment(**disk.environment)
    await site.mailbox.open()
    try:
        with Watch(site) if errand.beside_service else nullcontext() as watch:
            acted = await _die_over(site, errand, point, at)
            if disk is not None:
                with nullcontext() if watch is None else watch.without_looks():
                    site.kill()
                    disk.lose()
                site.database.close()
            if errand.beside_service and disk is None:
                await site.mend()
            else:
                await site.recover()
                await site.start()
            await _go_on(site, errand, acted=acted)
        met = [] if watch is None else watch.errors[:3]
        for import_id, counts in () if watch is None else watch.counts.items():
            met += [f"a reader saw {sorted(counts)} rows of {import_id}"] if len(counts) > 1 else []
        return acted, see(site), met
    finally:
        await site.close()


async def _die_over(site: Site, errand: Errand, point: str | None, at: int | None) -> bool:
    if errand.beside_service:
        await site.start()
    commands = errand.commands(site)
    site.point = point
    site.count_anew(skip=0 if at is None else site.ACTS_AT - at)
    if not commands and at is not None:
        await site.start_and_die()
    for command in commands:
        code = await site.run(*command)
        if code < 0:
            break
        assert code == 0, (command, code)
    acted = at is not None and site.has_acted()
    site.point = None
    return acted


async def _go_on(site: Site, errand: Errand, *, acted: bool) -> None:
    bring_notices_forward(site)
    for command in errand.commands(site) if acted else ():
        assert await site.run(*command) == 0, command
    await wait_until(lambda: _is_quiet(site) and errand.is_over(site), "all is over")
    for command in errand.afterwards:
        assert await site.run(*command) == 0, command


def _is_quiet(site: Site) -> bool:
    site.go_on()
    with site.database.read() as connection:
        unfinished = connection.scalar(select(func.count()).where(imports.c.state.not_in(ENDS))) or 0
        unsent = connection.scalar(select(func.count()).where(notices.c.state == "pending")) or 0
    return not unfinished and not unsent


def make_past(template: Template, folder: Path) -> Template:
    """A template whose installation has stored all items, with their files kept, and holds one import of more."""
    shutil.copytree(template.folder, folder, ignore=shutil.ignore_patterns("gpg"))
    past = Template(folder, template.key_ids)
    app = App(load_settings(past.installation / "sealdrop.toml"))
    try:
        app.open_vault()
        for item in ITEMS:
            name = item.data_name("past")
            (folder / name).write_bytes(past.message(item))
            manifest = past.manifest(item, "past")
            import_id = receive(app, item.account, item.manifest_name("past"), manifest, folder / name)
            lease = app.queue.claim(app.now(), only=import_id)
            assert lease is not None
            app.carrier.carry_out(lease)
        item = ITEMS[0]
        held = receive(app, item.account, "held.manifest", past.manifest(item, "past"), folder / item.data_name("past"))
        with app.database.write() as connection:
            connection.execute(update(imports).where(imports.c.id == held).values(state=State.HELD, code="worker.lost"))
            connection.execute(update(notices).values(state="sent", sent_at=app.now() - _LONG_AGO))
    finally:
        app.close()
    return past


def _id_of(site: Site, manifest: str) -> str | None:
    with site.database.read() as connection:
        import_id: str | None = connection.scalar(select(imports.c.id).where(imports.c.manifest == manifest))
    return import_id


def _nothing(_site: Site) -> None:
    pass


# recovery


def _tear(site: Site) -> None:
    """A power loss tore an entry and a checkpoint; then a ledger was put back that knows nothing of two imports."""
    log = site.lake.folder("acme", ImportType.EVENT) / "_delta_log"
    DeltaTable(log.parent).create_checkpoint()
    for torn in log.glob("*.checkpoint.parquet"):
        torn.write_bytes(torn.read_bytes()[:100])
    newest = max(log.glob("*.json"))
    newest.write_bytes(newest.read_bytes()[:100])
    forgotten = [_id_of(site, ITEMS[number].manifest_name("past")) for number in (0, 3)]  # of the torn entry, and not
    with site.database.write() as connection:
        for table in (notices, timeline, firsts):
            connection.execute(delete(table).where(table.c.import_id.in_(forgotten)))
        connection.execute(delete(imports).where(imports.c.id.in_(forgotten)))


def _all_known(site: Site) -> bool:
    return not set(site.taken()) - Imports(site.database).known(site.taken())


# the sweeper


def _grow_old(site: Site) -> None:
    then = datetime.now(UTC) - _LONG_AGO
    with site.database.write() as connection:
        connection.execute(update(imports).where(imports.c.finished_at.is_not(None)).values(finished_at=then))
        connection.execute(update(notices).values(created_at=then))
        connection.execute(delete(sweeps))


# imports by hand


def _given_and_replayed(site: Site) -> list[list[str]]:
    """A file by hand, and a replay: a rejected row goes into a column of its own, the accepted ones are stored."""
    commands = []
    if _id_of(site, "given.manifest") is None:
        item = ITEMS[1]
        (site.folder / item.data_name("given")).write_bytes(site.template.message(item))
        (site.folder / "given.manifest").write_bytes(site.template.manifest(item, "given"))
        commands.append(["import", "run", "acme", str(site.folder / "given.manifest")])
    with site.database.read() as connection:
        replay = connection.scalar(select(imports.c.id).where(imports.c.replay_of.is_not(None)))
    if replay is None:
        corrected = site.template.manifest(ITEMS[0], "past").replace(b'"price": {', b'"price": {"ctName": "said", ')
        file = site.folder / "corrected.manifest"
        file.write_bytes(corrected.replace(b'"said", "dataType": "Integer"', b'"said"'))
        replayed = str(_id_of(site, ITEMS[0].manifest_name("past")))
        commands.append(["import", "run", "acme", "--replay", replayed, "--manifest", str(file)])
    return commands


def _retried(site: Site) -> list[list[str]]:
    with site.database.read() as connection:
        held = imports.c.manifest == "held.manifest"
        retried = connection.scalar(select(imports.c.retried_at).where(held))
    return [["imports", "retry", str(_id_of(site, "held.manifest"))]] if retried is None else []


# notices, and a manifest that was taken back


def _hold_back(site: Site) -> None:
    """Mails wait for room."""
    then = datetime.now(UTC) - timedelta(minutes=1)
    with site.database.write() as connection:
        waiting = {"state": "pending", "sent_at": None, "claimed_at": None, "attempts": 1, "next_attempt_at": then}
        connection.execute(update(notices).values(**waiting))


def _leave_alone(site: Site) -> None:
    (site.spool_root / "drops" / "acme" / "lonely.csv.asc").write_bytes(b"nobody names it")


def _is_told(site: Site) -> bool:
    with site.database.read() as connection:
        return connection.scalar(select(notices.c.id).where(notices.c.stage == "file_waiting")) is not None


def _take_back(site: Site) -> None:
    Imports(site.database).receive(
        "20260101t000000-000000000000", "acme", "gone.manifest", "gone.csv", datetime.now(UTC)
    )


ERRANDS = (
    Errand(
        ("recovery.moved", "recovery.kept", "recovery.set_aside", "recovery.logs_read", "recovery.brought_back"),
        _tear,
        is_over=_all_known,
    ),
    Errand(
        ("sweep.removed", "sweep.synced", "sweep.remembered"),
        _grow_old,
        lambda _site: [["sweep"]],
    ),
    Errand(
        (
            "compact.begun",
            "compact.indexed",
            "compact.written",
            "compact.linked",
            "compact.replaced",
            "compact.removing",
            "compact.removed",
        ),
        _nothing,
        lambda _site: [["lake", "compact"]] * 3,
        beside_service=True,
        environment={"SEALDROP_LAKE__KEEP_REPLACED_S": "0.001", "SEALDROP_LAKE__CURSOR_S": "0.001"},
    ),
    Errand(
        ("by_hand.written", "by_hand.kept", "by_hand.received", "given.moved", "by_hand.taken", "by_hand.ready"),
        _nothing,
        _given_and_replayed,
        afterwards=[["sweep"]],  # the copies of a command that died
        beside_service=True,
        most_losses_at=1,  # not at the replay: of a file with two names our loss of power leaves one
        environment={"SEALDROP_DOOR__KEEP_UNFINISHED_S": "0.001"},
    ),
    Errand(
        ("retry.written", "retry.committed"),
        _nothing,
        _retried,
        beside_service=True,
    ),
    Errand(
        ("digest.folded",),
        _hold_back,
        environment={"SEALDROP_NOTICES__MAILS_PER_HOUR": "1"},
    ),
    Errand(
        ("waiting.told",),
        _leave_alone,
        is_over=_is_told,
        most_losses_at=0,  # after ours a file is another, and told of anew
        environment={"SEALDROP_NOTICES__WAITING_FILE_S": "0.1"},
    ),
    Errand(("collect.withdrawn",), _take_back),
)


def errand_of(point: str) -> Errand | None:
    """The errand on whose way the failpoint lies; ``None`` when that is the way of an import."""
    return next((errand for errand in ERRANDS if point in errand.points), None)
