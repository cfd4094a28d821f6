"""What is sent in a round: five encrypted files of two accounts, one of them twice, and the installation for them.

Account ``acme`` has tables already. ``blank`` has none at the start of a round, and the columns of its two event files
differ, so that a table is made and columns are added each time. It wants duplicates skipped, and sends its last file
twice, with the same manifest under another name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncssh

from ingest.app import App
from ingest.cli.ssh_keys import keys_in
from ingest.custody import make_pair
from ingest.demo.sender import Gpg
from ingest.installation import Choices, initialise, prepare
from tests.crash.ledger import IN_ITS_FOLDER, Ledger

ACCOUNTS = ("acme", "blank")
EMAIL = {account: f"data@{account}.example" for account in ACCOUNTS}


@dataclass(frozen=True)
class Item:
    """One data file, and what its manifest says beside the usual."""

    name: str
    account: str
    content: str
    manifest: Mapping[str, Any]
    ending: str = "csv.asc"
    renamed_at_the_end: bool = False  # uploaded as .part, as many clients do
    again: str | None = None  # the item whose bytes are sent once more

    @property
    def file(self) -> str:
        """The item whose data file it sends."""
        return self.again or self.name

    def data_name(self, tag: str) -> str:
        return f"{tag}-{self.file}.{self.ending}"

    def manifest_name(self, tag: str) -> str:
        return f"{tag}-{self.name}.manifest"


def _csv(header: str, rows: int, line: str) -> str:
    return header + "\n" + "".join(line.format(n=n, ts=1735689600 + n) + "\n" for n in range(rows))


_EVENT = {"type": "event", "columns": {"ts": {"dataType": "Integer"}, "price": {"dataType": "Integer"}}}

_PEOPLE = Item(
    "people",
    "blank",
    "".join(json.dumps({"identity": f"p{n}", "tier": "gold", "rank": str(n)}) + "\n" for n in range(120)),
    {"type": "profile"},
    ending="jsonl.asc",
)

ITEMS = (
    Item(
        "orders",
        "acme",
        # its second row has a price that is no whole number: it is rejected
        _csv("identity,evtName,ts,price", 1, "u{n},Charged,{ts},7")
        + "u1,Charged,1735689600,cheap\n"
        + _csv("", 300, "u{n},Charged,{ts},{n}").lstrip("\n"),
        _EVENT,
    ),
    Item(
        "users",
        "acme",
        _csv("identity,score,note", 250, "u{n},{n}.5,note of user {n}"),
        {"type": "profile", "columns": {"score": {"dataType": "Float"}}},
        renamed_at_the_end=True,
    ),
    Item("left", "blank", _csv("identity,evtName,ts,left", 200, "u{n},Left,{ts},{n}"), {"type": "event"}),
    Item("right", "blank", _csv("identity,evtName,ts,right", 150, "u{n},Right,{ts},{n}"), {"type": "event"}),
    _PEOPLE,
    replace(_PEOPLE, name="again", again="people"),
)


def by_name(name: str) -> Item:
    """The item of this name."""
    return next(item for item in ITEMS if item.name == name)


@dataclass(frozen=True)
class Template:
    """An installation with its accounts and keys, to be copied, and the encrypted files for it."""

    folder: Path
    key_ids: dict[str, str] = field(default_factory=dict)  # by account
    ledger: Ledger = IN_ITS_FOLDER

    @property
    def installation(self) -> Path:
        return self.folder / "installation"

    def message(self, item: Item) -> bytes:
        return (self.folder / item.file).read_bytes()

    def ssh_key(self, account: str) -> Path:
        return self.folder / f"{account}.key"

    def public_key(self, account: str) -> bytes:
        return (self.folder / f"{account}.asc").read_bytes()

    def manifest(self, item: Item, tag: str) -> bytes:
        facts = {"fileName": item.data_name(tag), "clientEmail": EMAIL[item.account]}
        return json.dumps({**facts, "keyId": self.key_ids[item.account], **item.manifest}).encode()


async def make_template(folder: Path, ledger: Ledger = IN_ITS_FOLDER) -> Template:
    """Make the installation, and encrypt all files with the real gpg."""
    settings = initialise(folder / "installation", Choices("127.0.0.1", 0, "127.0.0.1", 25, "none"))
    template = Template(folder, ledger=ledger.copied())
    if ledger.server is not None:
        settings = settings.model_copy(update={"ledger_url": template.ledger.url(template.installation)})
        prepare(settings)
    gpg = Gpg(folder / "gpg")
    app = App(settings)
    try:
        for account in ACCOUNTS:
            key = asyncssh.generate_private_key("ssh-ed25519")
            key.write_private_key(template.ssh_key(account))
            key.write_public_key(folder / f"{account}.pub")
            app.accounts.add(
                account,
                now=app.now(),
                actor="test",
                contact_addresses=[EMAIL[account]],
                ssh_public_keys=keys_in(folder / f"{account}.pub"),
                skip_duplicates=any(item.again for item in ITEMS if item.account == account),
            )
            app.spool.open_account(account)
            pair = make_pair(app, account, "cv25519", actor="test")
            template.key_ids[account] = pair.key_id
            (folder / f"{account}.asc").write_bytes(pair.public_key)
            await gpg.import_public(pair.public_key)
            for item in ITEMS:
                if item.account == account and item.again is None:
                    plain = folder / f"{item.name}.plain"
                    plain.write_text(item.content)
                    message = await gpg.encrypt(plain, pair.fingerprint)
                    message.rename(folder / item.name)
    finally:
        app.close()
        await gpg.close()
    return template
