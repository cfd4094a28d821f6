"""``sealdrop key``: PGP key pairs of customers. How they are rotated and end: `ingest.cli.key_life`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ingest.cli.pairs import (
    KEY_ID,
    Expires,
    Folder,
    HandOut,
    PairType,
    PassphraseFile,
    SignaturePolicy,
    Signatures,
    Type,
    facts_of,
    kept_pairs,
    lasting,
    lines_of,
    needed_pairs,
    show_new,
    with_passphrase,
    write_new,
)
from ingest.cli.session import actor, needed_account, opened, read_file
from ingest.cli.show import AsJson, hint, out, print_facts, print_json, print_table, styled_state, visible
from ingest.states import PairState

app = typer.Typer(help="PGP key pairs: import, generate, rotate, retire, look at them.", no_args_is_help=True)


@app.command("import")
def import_(
    context: typer.Context,
    account: str,
    file: Annotated[Path, typer.Argument(help="The private key, as `gpg --export-secret-keys --armor` writes it.")],
    passphrase_file: PassphraseFile = None,
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
        key = with_passphrase(
            passphrase_file,
            lambda passphrase: import_pair(
                parts, account, private_key, passphrase, signatures=signatures.value, actor=actor()
            ),
        )
    show_new(key, {}, as_json=as_json)


@app.command()
def generate(
    context: typer.Context,
    account: str,
    type_: Type = PairType.RSA3072,
    expires: Expires = "never",
    folder: Folder = Path(),
    signatures: Signatures = SignaturePolicy.VERIFY,
    as_json: AsJson = False,
) -> None:
    """Make a pair for a customer; public key, private key and passphrase are written once, to files of mode 0600.

    Example: `sealdrop key generate acme --type cv25519 --expires 730 --out acme-keys`
    """
    from ingest.custody import make_pair

    lasts = lasting(expires)
    with opened(context) as parts:
        needed_account(parts, account)
        hand_out = HandOut(folder)
        key = make_pair(
            parts, account, type_.value, lasts=lasts, signatures=signatures.value, actor=actor(), hand_out=hand_out
        )
    show_new(key, hand_out.files, as_json=as_json)


@app.command()
def change(
    context: typer.Context,
    key_id: Annotated[str, KEY_ID],
    signatures: Annotated[SignaturePolicy, typer.Option(help="What signatures of files for this pair mean.")],
) -> None:
    """Change what the signatures of files for a pair mean, for imports that begin after it.

    Example: `sealdrop key change ec491319-9823-48cd-b6a1-6bb0bc666d75 --signatures require`
    """
    with opened(context) as parts:
        key = needed_pairs(parts, key_id)[0]
        parts.pgp_keys.change_policy(key, signatures.value, actor=actor(), now=parts.now())
        signers = parts.signers.of_account(key.account)
    out.print(f"signatures of files for {key.key_id}: {signatures.value}", markup=False)
    if signatures is SignaturePolicy.REQUIRE and not signers:
        hint(f"{key.account} has no signer yet, so every file is refused: `sealdrop signer add {key.account} FILE`.")


@app.command("list")
def list_(
    context: typer.Context,
    account: Annotated[str | None, typer.Argument(help="Only this customer's.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Also the destroyed ones.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the stored pairs, with their last use and the number of imports that they opened.

    Example: `sealdrop key list acme`
    """
    with opened(context) as parts:
        accounts = parts.accounts.all() if account is None else [needed_account(parts, account)]
        keys = [key for one in accounts for key in parts.pgp_keys.of_account(one.id)]
        uses = parts.imports.uses_of_pairs(account)
    keys = [key for key in keys if every or key.state is not PairState.DESTROYED]
    if as_json:
        print_json([facts_of(key, uses.get((key.account, key.fingerprint), 0)) for key in keys])
        return
    rows = [
        (
            k.key_id,
            k.account,
            styled_state(k.state),
            k.algorithm,
            k.fingerprint[-16:],
            k.signatures,
            _day(k.expires_at, "never"),
            _day(k.retires_at, ""),
            _day(k.last_used_at, "never"),
            f"{uses.get((k.account, k.fingerprint), 0):,}",
        )
        for k in keys
    ]
    columns = ("key ID", "account", "state", "algorithm", "OpenPGP key ID", "signatures", "expires", "retires")
    empty = "No pair yet: `sealdrop key import` or `sealdrop key generate`."
    print_table((*columns, "last used", "imports"), rows, empty=empty)


@app.command()
def show(
    context: typer.Context,
    key_id: Annotated[str, KEY_ID],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many imports, newest first.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Show the pairs of a key ID, newest first, and the last imports that they opened.

    Example: `sealdrop key show ec491319-9823-48cd-b6a1-6bb0bc666d75`
    """
    with opened(context) as parts:
        pairs = needed_pairs(parts, key_id)
        newest = pairs[0]
        uses = parts.imports.uses_of_pairs(newest.account)
        reports = parts.imports.opened_by(newest.account, [pair.fingerprint for pair in pairs], limit=limit)
    counts = {pair.version: uses.get((pair.account, pair.fingerprint), 0) for pair in pairs}
    if as_json:
        imports = [
            {"id": r.id, "manifest": r.manifest, "state": r.state, "received_at": r.received_at, "pair": r.pair}
            for r in reports
        ]
        facts = {"key_id": newest.key_id, "account": newest.account, "signatures": newest.signatures}
        print_json(facts | {"pairs": [facts_of(p, counts[p.version]) for p in pairs], "imports": imports})
        return
    print_facts({"key ID": newest.key_id, "account": newest.account, "signatures": newest.signatures})
    for pair in pairs:
        out.print()
        print_facts({"state": styled_state(pair.state), **lines_of(pair), "imports": f"{counts[pair.version]:,}"})
    out.print()
    rows = [(r.id, styled_state(r.state), (r.pair or "")[-16:], visible(r.manifest)) for r in reports]
    print_table(("import", "state", "OpenPGP key ID", "manifest"), rows, empty="No import has used it yet.")


@app.command()
def export(
    context: typer.Context,
    key_id: Annotated[str, KEY_ID],
    file: Annotated[Path | None, typer.Option("--out", help="New file; without it, to standard output.")] = None,
) -> None:
    """Write the public key to which files are encrypted. A private key is never given out again.

    Example: `sealdrop key export ec491319-9823-48cd-b6a1-6bb0bc666d75 --out acme.public.asc`
    """
    with opened(context) as parts:
        pair = kept_pairs(parts, key_id)[0]
        if file is not None:
            write_new(file, pair.public_key)
        parts.pgp_keys.record(pair, "key.export", "public key", actor=actor(), now=parts.now())
    if file is None:
        typer.echo(pair.public_key, nl=False)
    else:
        out.print(f"public key {pair.fingerprint} written to {file}", markup=False)


def _day(moment: object, otherwise: str) -> str:
    return f"{moment:%Y-%m-%d}" if moment else otherwise
