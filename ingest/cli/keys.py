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

from ingest.cli.session import CommandFailed, actor, needed_account, opened, read_file
from ingest.cli.show import AsJson, hint, out, print_facts, print_json, print_table
from keystore.errors import KeyPassphraseWrong
from keystore.secret import Secret

if TYPE_CHECKING:
    from ingest.app import App
    from ingest.ledger.pgp_keys import PgpKey
    from keystore.pgp_keys import GeneratedPair

app = typer.Typer(help="PGP key pairs: import, generate, change, list.", no_args_is_help=True)


class SignaturePolicy(StrEnum):
    """What the signatures of files for a pair mean."""

    IGNORE = "ignore"
    VERIFY = "verify"
    REQUIRE = "require"


Signatures = Annotated[
    SignaturePolicy,
    typer.Option(
        help="What signatures of files for this pair mean: passed over, verified and told, or required to be good."
    ),
]


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
    signatures: Signatures = SignaturePolicy.VERIFY,
    as_json: AsJson = False,
) -> None:
    """Store a pair that the customer made, and print the key ID for its manifests.

    Example: `sealdrop key import acme private.asc --passphrase-file passphrase`
    """
    from ingest.custody import import_pair

    with opened(context) as parts:
        needed_account(parts, account)
        private_key = read_file(file)
        passphrase = None if passphrase_file is None else Secret(read_file(passphrase_file).rstrip(b"\r\n"))
        try:
            key = import_pair(parts, account, private_key, passphrase, signatures=signatures.value, actor=actor())
        except KeyPassphraseWrong:
            if passphrase is not None or not sys.stdin.isatty():
                raise
            passphrase = Secret(getpass.getpass("Passphrase of the private key: ").encode())
            key = import_pair(parts, account, private_key, passphrase, signatures=signatures.value, actor=actor())
    _show_new(key, as_json, {})


@app.command()
def generate(
    context: typer.Context,
    account: str,
    type_: Annotated[PairType, typer.Option("--type", help="Kind of pair.")] = PairType.RSA3072,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the three files.")] = Path(),
    signatures: Signatures = SignaturePolicy.VERIFY,
    as_json: AsJson = False,
) -> None:
    """Make a pair for a customer; public key, private key and passphrase are written once, to files of mode 0600.

    Example: `sealdrop key generate acme --type cv25519 --out acme-keys`
    """
    from ingest.custody import make_pair

    with opened(context) as parts:
        needed_account(parts, account)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files: dict[str, str] = {}

        def hand_out(key_id: str, pair: GeneratedPair) -> None:
            for name, suffix, content in (
                ("public_key_file", "public.asc", pair.public_armored),
                ("private_key_file", "private.asc", pair.private_armored.expose()),
                ("passphrase_file", "passphrase", pair.passphrase.expose() + b"\n"),
            ):
                files[name] = _write_private(folder / f"{key_id}.{suffix}", content)

        key = make_pair(parts, account, type_.value, signatures=signatures.value, actor=actor(), hand_out=hand_out)
    _show_new(key, as_json, files)


@app.command()
def change(
    context: typer.Context,
    key_id: str,
    signatures: Annotated[SignaturePolicy, typer.Option(help="What signatures of files for this pair mean.")],
) -> None:
    """Change what the signatures of files for a pair mean, for imports that begin after it.

    Example: `sealdrop key change ec491319-9823-48cd-b6a1-6bb0bc666d75 --signatures require`
    """
    with opened(context) as parts:
        key = next((key for key in _every_key(parts) if key.key_id == key_id.lower()), None)
        if key is None:
            raise CommandFailed(f"There is no pair with the key ID {key_id}: `sealdrop key list` shows the pairs.")
        parts.pgp_keys.change_policy(key, signatures.value, actor=actor(), now=parts.now())
        signers = parts.signers.of_account(key.account)
    out.print(f"signatures of files for {key.key_id}: {signatures.value}", markup=False)
    if signatures is SignaturePolicy.REQUIRE and not signers:
        hint(f"{key.account} has no signer yet, so every file is refused: `sealdrop signer add {key.account} FILE`.")


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
        keys = _every_key(parts) if account is None else parts.pgp_keys.of_account(needed_account(parts, account).id)
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
            k.signatures,
            k.expires_at or "never",
            k.last_used_at or "never",
        )
        for k in keys
    ]
    columns = ("key ID", "account", "state", "algorithm", "OpenPGP key ID", "signatures", "expires", "last used")
    print_table(columns, rows, empty="No pair yet: `sealdrop key import` or `sealdrop key generate`.")


def _every_key(parts: App) -> list[PgpKey]:
    return [key for account in parts.accounts.all() for key in parts.pgp_keys.of_account(account.id)]


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
            "signatures": key.signatures,
            "public key": files.get("public_key_file"),
            "private key": files.get("private_key_file"),
            "passphrase": files.get("passphrase_file"),
        }
    )
    hint(f'Put `"keyId": "{key.key_id}"` into the manifests of {key.account}.')
    if files:
        hint("Give the files to the customer in a safe way, then remove them: they are not written again.")


def _write_private(path: Path, content: bytes) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return str(path)


def _facts(key: PgpKey) -> dict[str, Any]:
    facts = asdict(key)
    facts["public_key"] = key.public_key.decode("ascii")
    return facts
