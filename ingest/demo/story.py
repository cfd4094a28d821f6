"""The demo's story: a customer is added, sends three files, gets mails; the data is read back. All is checked."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from email.message import EmailMessage
from functools import partial
from pathlib import Path
from time import perf_counter

from ingest.app import App
from ingest.custody import import_pair, make_pair
from ingest.demo import files
from ingest.demo.mailbox import Mailbox, text_of
from ingest.demo.picture import Picture
from ingest.demo.sender import Gpg, SenderFailed, Uploader, encrypt_without_gpg
from ingest.door.host_key import describe_host_key
from ingest.installation import Choices, initialise
from ingest.ledger.pgp_keys import PgpKey
from ingest.logs import set_up_logs
from ingest.report import Report
from ingest.service import Service
from ingest.ssh_keys import read_ssh_key
from ingest.states import ENDS
from keystore.secret import Secret

_ACCOUNT = "acme"
_EMAIL = "data@acme.example"
_TIMEOUT_S = 60.0


class StoryWentWrong(Exception):
    """Something that the demo promises did not happen; the text says what."""


@dataclass(frozen=True, slots=True)
class _Pairs:
    """The customer's pairs: the one they made, and the one we made for them."""

    own: PgpKey
    made: PgpKey


def run_demo(keep: Path | None) -> int:
    """Tell the story in ``keep`` (a new folder) or a temporary one; the exit code is 0 only when all came true."""
    picture = Picture()
    set_up_logs("error")
    with contextlib.ExitStack() as stack:
        if keep is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sealdrop-demo-")))
        else:
            folder = keep.absolute()
            folder.mkdir(mode=0o700, parents=True)
        try:
            asyncio.run(_tell(folder, picture))
        except (StoryWentWrong, SenderFailed, TimeoutError) as error:
            picture.failed(str(error) or "something did not arrive in time")
            return 1
        picture.done(None if keep is None else folder)
    return 0


async def _tell(folder: Path, picture: Picture) -> None:
    mailbox = Mailbox()
    await mailbox.open()
    settings = initialise(
        folder, Choices("127.0.0.1", 0, mail_host="127.0.0.1", mail_port=mailbox.port, mail_security="none")
    ).model_copy(update={"log_level": "error"})
    customer = folder / "customer"
    customer.mkdir(mode=0o700)
    picture.tools(gpg=Gpg.is_installed(), sftp=Uploader.has_openssh())
    with contextlib.closing(App(settings)) as app:
        async with _gpg() as gpg:
            with picture.chapter("A customer is added, with an SSH key and two PGP key pairs"):
                pairs = await _add_customer(app, customer, gpg, picture)
            service = Service(app)
            async with service.running():
                picture.serving(service.port)
                await _send_and_read_back(app, service, customer, gpg, pairs, mailbox, picture)
    await mailbox.close()


async def _send_and_read_back(
    app: App, service: Service, customer: Path, gpg: Gpg | None, pairs: _Pairs, mailbox: Mailbox, picture: Picture
) -> None:
    host_key = describe_host_key(app.settings.door.host_key_file)
    port = service.port or 0
    uploader = Uploader(customer, _ACCOUNT, "127.0.0.1", port, host_key.known_hosts_line("127.0.0.1", port))

    users = await _encrypt(files.write_profiles(customer), pairs.made, gpg)
    manifest = files.write_profile_manifest(customer, users.name, _EMAIL, pairs.made.key_id)
    profiles = await _import(app, uploader, picture, "a profile file, YAML manifest", users, manifest)
    _expect(profiles, state="succeeded", rows_stored=files.PROFILES, rows_rejected=0)

    orders = await _encrypt(files.write_events(customer), pairs.own, gpg)
    manifest = files.write_event_manifest(customer, orders.name, _EMAIL, pairs.own.key_id)
    events = await _import(app, uploader, picture, "an event file, the guide's sample manifest", orders, manifest)
    _expect(events, state="succeeded", rows_stored=files.EVENTS - 1, rows_rejected=1)

    manifest = files.write_event_manifest(
        customer, orders.name, _EMAIL, pairs.own.key_id, name="wrong.manifest", item_prize={"dataType": "Integer"}
    )
    failed = await _import(app, uploader, picture, "a manifest with a misspelt column", orders, manifest)
    _expect(failed, state="failed", code="data.header", rows_stored=0)

    for subject, report in (("Picked up", profiles), ("Imported", events), ("Import failed", failed)):
        picture.mail(await mailbox.wait_for(partial(_is_about, subject, report.id), _TIMEOUT_S))
    await _explain_reject(uploader, events, customer, picture)
    await _read_back(app, picture)
    picture.way([profiles, events, failed])


def _is_about(subject: str, import_id: str, mail: EmailMessage) -> bool:
    return mail["Subject"].startswith(subject) and import_id in text_of(mail)


async def _add_customer(app: App, customer: Path, gpg: Gpg | None, picture: Picture) -> _Pairs:
    app.accounts.add(
        _ACCOUNT,
        now=app.now(),
        actor="demo",
        contact_addresses=[_EMAIL],
        ssh_public_keys=[read_ssh_key(Uploader.make_key(customer).read_text())],
    )
    app.spool.open_account(_ACCOUNT)
    made = await asyncio.to_thread(make_pair, app, _ACCOUNT, "cv25519", actor="demo")
    if gpg is not None:
        passphrase = secrets.token_urlsafe(18).encode()
        private_key = await gpg.make_pair("own@acme.example", passphrase)
        own = await asyncio.to_thread(import_pair, app, _ACCOUNT, private_key, Secret(passphrase), actor="demo")
        await gpg.import_public(made.public_key)
    else:
        own = await asyncio.to_thread(make_pair, app, _ACCOUNT, "rsa3072", actor="demo")
    picture.keys([own, made])
    return _Pairs(own, made)


async def _encrypt(file: Path, key: PgpKey, gpg: Gpg | None) -> Path:
    if gpg is None:
        return await asyncio.to_thread(encrypt_without_gpg, file, key.public_key)
    return await gpg.encrypt(file, key.fingerprint)


async def _import(app: App, uploader: Uploader, picture: Picture, what: str, data_file: Path, manifest: Path) -> Report:
    """Upload a data file and its manifest, and wait for the end of their import."""
    before = {report.id for report in app.imports.newest(account=_ACCOUNT)}
    with picture.chapter(f"Import: {what}"):
        start = perf_counter()
        await uploader.put(data_file, manifest)
        uploaded = perf_counter() - start
        async with asyncio.timeout(_TIMEOUT_S):
            while True:
                new = [r for r in app.imports.newest(account=_ACCOUNT) if r.id not in before]
                if new and new[0].state in ENDS:
                    break
                await asyncio.sleep(0.02)
    report = new[0]
    picture.outcome(report)
    return replace(report, seconds={"upload": round(uploaded, 3), **report.seconds})


def _expect(report: Report, **facts: object) -> None:
    for name, wanted in facts.items():
        if getattr(report, name) != wanted:
            raise StoryWentWrong(
                f"{report.manifest}: {name} is {getattr(report, name)}, not {wanted} ({report.code}: {report.message})"
            )


async def _explain_reject(uploader: Uploader, events: Report, customer: Path, picture: Picture) -> None:
    """The one rejected row, from the report in ``results/`` as the customer downloads it."""
    name = f"{events.manifest}.{events.id}.json"
    await uploader.get(f"results/{name}", customer / name)
    reject = events.rejects[0]
    if (reject.row, reject.column, reject.code) != (files.REJECTED_ROW, "item_price", 600):
        raise StoryWentWrong(f"the rejected row is {reject}")
    if str(files.REJECTED_ROW) not in (customer / name).read_text():
        raise StoryWentWrong("the report in results/ does not name the rejected row")
    picture.rejected(reject, name, events.reject_file)


async def _read_back(app: App, picture: Picture) -> None:
    profile = await asyncio.to_thread(app.lake.profile, _ACCOUNT, "identity", "user-1")
    events = await asyncio.to_thread(app.lake.events, _ACCOUNT)
    if profile is None or profile["Email"].split("@")[0].split(".")[1] != "1":
        raise StoryWentWrong("the profile of user-1 is not in the lake")
    if events.height != files.EVENTS - 1:
        raise StoryWentWrong(f"the lake has {events.height} events, not {files.EVENTS - 1}")
    picture.data(profile, events)


@contextlib.asynccontextmanager
async def _gpg() -> AsyncIterator[Gpg | None]:
    """A gpg of the customer's own, or ``None`` where none is installed."""
    if not Gpg.is_installed():
        yield None
        return
    # gpg-agent's socket lies in its home, and the path of a socket has at most 107 bytes (FAULTS.md P28)
    with tempfile.TemporaryDirectory(prefix="sd-", dir="/tmp") as home:  # a private folder in it
        gpg = Gpg(Path(home))
        try:
            yield gpg
        finally:
            await gpg.close()
