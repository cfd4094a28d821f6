"""``sealdrop key``: PGP key pairs of customers."""

from __future__ import annotations

import getpass
import os
import sys
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.cli.session import CommandFailed, actor, needed_account, opened
from ingest.cli.show import AsJson, hint, print_facts, print_json, print_table
from keystore.errors import KeyPassphraseWrong
from keystore.secret import Secret

if TYPE_CHECKING:
    from ingest.ledger.pgp_keys import PgpKey
    from keystore.pgp_keys import GeneratedPair

app = typer.Typer(help="PGP key pairs: import, generate, list.", no_args_is_help=True)

_MAX_SECRET_FILE_BYTES = 1 << 20


class PairType(StrEnum):
    """The types of pair that can be made."""

    RSA3072 = "rsa3072"
    CV25519 = "cv25519"


@app.command("import")
def import_(
    context: typer.Context,
    account: str,
    file: Annotated[Path, typer.Argument(help="The private key, as `gpg --export-secret-keys --armor` writes it.")],
    passphrase_file: Annotated[
        Path | None, typer.Option(help="File with the passphrase; without it you are asked when one is needed.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Store a pair that the customer made, and print the key ID for its manifests.

    Example: `sealdrop key import acme private.asc --passphrase-file passphrase`
    """
    from ingest.custody import import_pair

    with opened(context) as parts:
        needed_account(parts, account)
        private_key = _read(file)
        passphrase = None if passphrase_file is None else Secret(_read(passphrase_file).rstrip(b"\r\n"))
        try:
            key = import_pair(parts, account, private_key, passphrase, actor=actor())
        except KeyPassphraseWrong:
            if passphrase is not None or not sys.stdin.isatty():
                raise
            passphrase = Secret(getpass.getpass("Passphrase of the private key: ").encode())
            key = import_pair(parts, account, private_key, passphrase, actor=actor())
    _show_new(key, as_json, {})


@app.command()
def generate(
    context: typer.Context,
    account: str,
    type_: Annotated[PairType, typer.Option("--type", help="Kind of pair.")] = PairType.RSA3072,
    out: Annotated[Path, typer.Option(help="Folder for the three files.")] = Path(),
    as_json: AsJson = False,
) -> None:
    """Make a pair for a customer; public key, private key and passphrase are written once, to files of mode 0600.

    Example: `sealdrop key generate acme --type cv25519 --out acme-keys`
    """
    from ingest.custody import make_pair

    with opened(context) as parts:
        needed_account(parts, account)
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        files: dict[str, str] = {}

        def hand_out(key_id: str, pair: GeneratedPair) -> None:
            for name, suffix, content in (
                ("public_key_file", "public.asc", pair.public_armored),
                ("private_key_file", "private.asc", pair.private_armored.expose()),
                ("passphrase_file", "passphrase", pair.passphrase.expose() + b"\n"),
            ):
                files[name] = _write_private(out / f"{key_id}.{suffix}", content)

        key = make_pair(parts, account, type_.value, actor=actor(), hand_out=hand_out)
    _show_new(key, as_json, files)


@app.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(help="Only this customer's.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the stored pairs.

    Example: `sealdrop key list acme`
    """
    with opened(context) as parts:
        names = [needed_account(parts, account).id] if account else [a.id for a in parts.accounts.all()]
        keys = [key for name in names for key in parts.pgp_keys.of_account(name)]
    if as_json:
        print_json([_facts(key) for key in keys])
        return
    rows = [
        (
            k.key_id,
            k.account,
            k.state,
            k.algorithm,
            k.fingerprint[-16:],
            k.expires_at or "never",
            k.last_used_at or "never",
        )
        for k in keys
    ]
    columns = ("key ID", "account", "state", "algorithm", "OpenPGP key ID", "expires", "last used")
    print_table(columns, rows, empty="No pair yet: `sealdrop key import` or `sealdrop key generate`.")


def _show_new(key: PgpKey, as_json: bool, files: dict[str, str]) -> None:
    if as_json:
        print_json(_facts(key) | files)
        return
    print_facts(
        {
            "key ID": key.key_id,
            "fingerprint": key.fingerprint,
            "algorithm": key.algorithm,
            "user IDs": "\n".join(key.user_ids),
            "expires": key.expires_at or "never",
            "public key": files.get("public_key_file"),
            "private key": files.get("private_key_file"),
            "passphrase": files.get("passphrase_file"),
        }
    )
    hint(f'Put `"keyId": "{key.key_id}"` into the manifests of {key.account}.')
    if files:
        hint("Give the files to the customer in a safe way, then remove them: they are not written again.")


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened_file:
            content = opened_file.read(_MAX_SECRET_FILE_BYTES + 1)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}.") from None
    if len(content) > _MAX_SECRET_FILE_BYTES:
        raise CommandFailed(f"{file} is larger than {_MAX_SECRET_FILE_BYTES:,} bytes: that is no key.")
    return content


def _write_private(path: Path, content: bytes) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return str(path)


def _facts(key: PgpKey) -> dict[str, Any]:
    facts = asdict(key)
    facts["public_key"] = key.public_key.decode("ascii")
    return facts
