"""What the commands about key pairs share: finding a key ID, reading and writing key files, showing a pair."""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ingest.cli.session import CommandFailed, read_file
from ingest.cli.show import hint, print_facts, print_json
from ingest.states import PairState
from keystore.errors import KeyPassphraseWrong
from keystore.secret import Secret

if TYPE_CHECKING:
    from ingest.app import App
    from ingest.ledger.pgp_keys import PgpKey
    from keystore.pgp_keys import GeneratedPair, SubkeyFacts

T = TypeVar("T")

_DAYS = re.compile(r"[1-9][0-9]{0,4}")


class SignaturePolicy(StrEnum):
    """What the signatures of files for a pair mean."""

    IGNORE = "ignore"
    VERIFY = "verify"
    REQUIRE = "require"


class PairType(StrEnum):
    """The types of pair that can be made."""

    RSA3072 = "rsa3072"
    CV25519 = "cv25519"


Signatures = Annotated[
    SignaturePolicy,
    typer.Option(
        help="What signatures of files for this pair mean: passed over, verified and told, or required to be good."
    ),
]
PassphraseFile = Annotated[
    Path | None, typer.Option(help="File with the passphrase; without it you are asked when one is needed.")
]
Type = Annotated[PairType, typer.Option("--type", help="Kind of pair.")]
Expires = Annotated[str, typer.Option(help="Days until the pair expires, or `never`.")]
Folder = Annotated[Path, typer.Option("--out", help="Folder for the three files.")]
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The day, in UTC, from which it counts.")]
KEY_ID = typer.Argument(help="The key ID, as `sealdrop key list` shows it.")


def needed_pairs(parts: App, key_id: str) -> list[PgpKey]:
    """The pairs of a key ID, newest first, at least one. Raises `CommandFailed` when there is none."""
    pairs = parts.pgp_keys.of_key_id(key_id.lower())
    if not pairs:
        raise CommandFailed(f"There is no pair with the key ID {key_id}: `sealdrop key list` shows the pairs.")
    return pairs


def kept_pairs(parts: App, key_id: str) -> list[PgpKey]:
    """The same without the destroyed ones. Raises `CommandFailed` when there is no other."""
    kept = [pair for pair in needed_pairs(parts, key_id) if pair.state is not PairState.DESTROYED]
    if not kept:
        raise CommandFailed(f"The key pair {key_id} is destroyed: `sealdrop key rotate {key_id}` stores another one.")
    return kept


def lasting(expires: str) -> timedelta | None:
    """What ``--expires`` says. Raises ``typer.BadParameter``."""
    if expires == "never":
        return None
    if not _DAYS.fullmatch(expires):
        raise typer.BadParameter("--expires takes a number of days from 1 to 99999, or never")
    return timedelta(days=int(expires))


def coming(day: datetime, now: datetime) -> datetime:
    """The beginning of a day that is still to come, aware. Raises ``typer.BadParameter`` for one that is not."""
    begins = day.replace(tzinfo=UTC)
    if begins <= now:
        raise typer.BadParameter(f"{begins:%Y-%m-%d} is not a day to come")
    return begins


def with_passphrase(file: Path | None, store: Callable[[Secret | None], T]) -> T:
    """What ``store`` returns, given the passphrase of the file, or the one that is asked for when it needs one."""
    given = None if file is None else Secret(read_file(file).rstrip(b"\r\n"))
    try:
        return store(given)
    except KeyPassphraseWrong:
        if given is not None or not sys.stdin.isatty():
            raise
    return store(Secret(getpass.getpass("Passphrase of the private key: ").encode()))


class HandOut:
    """Writes a fresh pair and its passphrase to three files of mode 0600; ``files`` names them then."""

    def __init__(self, folder: Path, *, version: int = 1) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._version = f".{version}" if version > 1 else ""
        self.files: dict[str, str] = {}

    def __call__(self, key_id: str, pair: GeneratedPair) -> None:
        """Raises ``OSError`` when a file is there already or cannot be written."""
        for name, suffix, content in (
            ("public_key_file", "public.asc", pair.public_armored),
            ("private_key_file", "private.asc", pair.private_armored.expose()),
            ("passphrase_file", "passphrase", pair.passphrase.expose() + b"\n"),
        ):
            self.files[name] = write_new(self._folder / f"{key_id}{self._version}.{suffix}", content)


def write_new(path: Path, content: bytes) -> str:
    """Write a new file that only its owner may read; its path. Raises ``OSError`` when it is there already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return str(path)


def facts_of(key: PgpKey, imports: int) -> dict[str, Any]:
    """A pair for JSON; ``imports`` is how many it has opened."""
    from keystore.pgp_certificate import public_facts

    facts = asdict(key)
    facts["public_key"] = key.public_key.decode("ascii")
    facts["subkeys"] = [asdict(subkey) for subkey in public_facts(key.public_key).subkeys]
    facts["imports"] = imports
    return facts


def lines_of(key: PgpKey) -> dict[str, object]:
    """A pair for people."""
    from keystore.pgp_certificate import public_facts

    return {
        "fingerprint": key.fingerprint,
        "algorithm": key.algorithm,
        "subkeys": "\n".join(_subkey_line(subkey) for subkey in public_facts(key.public_key).subkeys),
        "user IDs": "\n".join(key.user_ids),
        "created": key.created_at,
        "expires": key.expires_at or "never",
        "retires": key.retires_at,
        "last used": key.last_used_at or "never",
    }


def show_new(key: PgpKey, files: dict[str, str], *, as_json: bool) -> None:
    """Print a pair that was stored just now, with the files that were handed out."""
    if as_json:
        print_json(facts_of(key, 0) | files)
        return
    shown = lines_of(key)
    del shown["created"], shown["last used"]
    print_facts(
        {
            "key ID": key.key_id,
            **shown,
            "signatures": key.signatures,
            "public key": files.get("public_key_file"),
            "private key": files.get("private_key_file"),
            "passphrase": files.get("passphrase_file"),
        }
    )
    if key.version == 1:
        hint(f'Put `"keyId": "{key.key_id}"` into the manifests of {key.account}.')
    if files:
        hint("Give the files to the customer in a safe way, then remove them: they are not written again.")


def _subkey_line(subkey: SubkeyFacts) -> str:
    until = f", expires {subkey.expires_at:%Y-%m-%d}" if subkey.expires_at else ""
    return f"{subkey.fingerprint}  {subkey.algorithm}, {' '.join(subkey.usage) or 'any use'}{until}"
