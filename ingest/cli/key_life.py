"""``sealdrop key rotate``, ``retire``, ``activate``, ``destroy`` and ``drill``: the life of key pairs."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.pairs import (
    KEY_ID,
    Day,
    Expires,
    Folder,
    HandOut,
    PairType,
    PassphraseFile,
    Type,
    coming,
    kept_pairs,
    lasting,
    needed_pairs,
    show_new,
    with_passphrase,
)
from ingest.cli.session import CommandFailed, actor, confirm, needed_account, opened, read_file
from ingest.cli.show import AsJson, hint, out, print_json, print_table
from ingest.states import PairState

if TYPE_CHECKING:
    from ingest.app import App
    from ingest.ledger.pgp_keys import PgpKey

_PREVIOUS_FOR = timedelta(days=30)

Previous = Annotated[bool, typer.Option("--previous", help="Only the pairs before the newest one.")]


def rotate(
    context: typer.Context,
    key_id: Annotated[str, KEY_ID],
    file: Annotated[Path | None, typer.Argument(help="The new private key; or let one be made, by --generate.")] = None,
    make: Annotated[bool, typer.Option("--generate", help="Make the new pair here.")] = False,
    passphrase_file: PassphraseFile = None,
    type_: Type = PairType.RSA3072,
    expires: Expires = "never",
    folder: Folder = Path(),
    until: Day = None,
    as_json: AsJson = False,
) -> None:
    """Store a new pair under a key ID: manifests stay as they are, and files for the former pair open for 30 days more.

    The message decides which of the two opens it. --until gives the former pair another last day. The same pair again,
    with a later expiry, takes its own place.

    Example: `sealdrop key rotate ec491319-9823-48cd-b6a1-6bb0bc666d75 new-private.asc`
    """
    from ingest.custody import Rotation, import_pair, make_pair

    if make == (file is not None):
        raise typer.BadParameter("give either the file of the new private key or --generate")
    lasts = lasting(expires)
    files: dict[str, str] = {}
    with opened(context) as parts:
        former = needed_pairs(parts, key_id)[0]
        needed_account(parts, former.account)
        previous_until = coming(until, parts.now()) if until else parts.now() + _PREVIOUS_FOR
        rotation, account, policy = Rotation(former, previous_until), former.account, former.signatures
        if file is None:
            hand_out = HandOut(folder, version=former.version + 1)
            make_pair(
                parts,
                account,
                type_.value,
                lasts=lasts,
                signatures=policy,
                rotation=rotation,
                actor=actor(),
                hand_out=hand_out,
            )
            files = hand_out.files
        else:
            private_key = read_file(file)
            with_passphrase(
                passphrase_file,
                lambda passphrase: import_pair(
                    parts, account, private_key, passphrase, signatures=policy, rotation=rotation, actor=actor()
                ),
            )
        key, *older = needed_pairs(parts, key_id)
        previous = [pair for pair in older if pair.opens_files(parts.now())]
    show_new(key, files, as_json=as_json)
    if key.version == former.version:
        hint("It is the same pair as before, in the form in which you gave it now.")
        return
    hint("Manifests keep their keyId. Files are encrypted to the new public key from now on.")
    for pair in previous:
        hint(f"Files for the former pair {pair.fingerprint[-16:]} open until {pair.retires_at:%Y-%m-%d}.")


def retire(
    context: typer.Context,
    key_id: Annotated[str, KEY_ID],
    on: Day = None,
    previous: Previous = False,
) -> None:
    """Let a key ID open no more files, at once or from a day on. `sealdrop key activate` takes it back.

    Example: `sealdrop key retire ec491319-9823-48cd-b6a1-6bb0bc666d75 --on 2027-03-31`
    """
    with opened(context) as parts:
        now = parts.now()
        at = None if on is None else coming(on, now)
        opening = [pair for pair in _chosen(parts, key_id, previous=previous) if pair.opens_files(now)]
        if not opening:
            raise CommandFailed(f"The key ID {key_id} has no {'previous ' if previous else ''}pair that opens files.")
        if at is None:
            parts.pgp_keys.move(opening, PairState.RETIRED, actor=actor(), now=now)
        else:  # one that retires earlier keeps its day, unless it is the newest
            later = [pair for pair in opening[1:] if pair.retires_at is None or pair.retires_at > at]
            moved = [opening[0], *later]
            parts.pgp_keys.move(moved, PairState.RETIRING, actor=actor(), now=now, retires_at=at)
        contacts = parts.accounts.get(opening[0].account)
    out.print(f"{opening[0].key_id} opens no more files{f' from {at:%Y-%m-%d} on' if at else ''}", markup=False)
    if at is not None and contacts is not None and contacts.contacts:
        hint(f"The contacts of {contacts.id} are told 30, 7 and 1 days before.")


def activate(context: typer.Context, key_id: Annotated[str, KEY_ID]) -> None:
    """Take back that a key ID retires or is retired: its newest pair opens files again.

    Example: `sealdrop key activate ec491319-9823-48cd-b6a1-6bb0bc666d75`
    """
    with opened(context) as parts:
        pair = kept_pairs(parts, key_id)[0]
        parts.pgp_keys.move([pair], PairState.ACTIVE, actor=actor(), now=parts.now())
    out.print(f"{pair.key_id} opens files", markup=False)


def destroy(
    context: typer.Context,
    key_id: Annotated[str, KEY_ID],
    previous: Previous = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Destroy the stored private keys of a key ID for good; each frees one of the account's 20 places.

    What is encrypted to them cannot be opened here any more, by nobody. What they were stays in the list and the audit.

    Example: `sealdrop key destroy ec491319-9823-48cd-b6a1-6bb0bc666d75 --previous`
    """
    with opened(context) as parts:
        doomed = _chosen(parts, key_id, previous=previous)
        if not doomed:
            raise CommandFailed(f"The key ID {key_id} has no previous pair.")
        names = ", ".join(pair.fingerprint[-16:] for pair in doomed)
        confirm(f"Destroy the private key of {names} ({doomed[0].account}) for good?", yes=yes)
        parts.pgp_keys.move(doomed, PairState.DESTROYED, actor=actor(), now=parts.now())
    for pair in doomed:
        out.print(f"{pair.key_id} {pair.fingerprint} is destroyed", markup=False)
    hint("Copies in backups of the ledger open with the master key for as long as these are kept.")


def drill(
    context: typer.Context,
    key_id: Annotated[str | None, KEY_ID] = None,
    every: Annotated[bool, typer.Option("--all", help="Every pair that opens files, of every account.")] = False,
    as_json: AsJson = False,
) -> None:
    """Encrypt a test message to a stored pair, and decrypt it as a file would be. Exit code 1 when that fails.

    Example: `sealdrop key drill --all`
    """
    from ingest.drill import run_drill

    if every == (key_id is not None):
        raise typer.BadParameter("give either a key ID or --all")
    with opened(context) as parts:
        now = parts.now()
        if key_id is None:
            pairs = [pair for one in parts.accounts.all() for pair in parts.pgp_keys.of_account(one.id)]
            pairs = [pair for pair in pairs if pair.opens_files(now)]
        else:
            kept = kept_pairs(parts, key_id)
            pairs = [pair for pair in kept if pair.opens_files(now)] or kept[:1]
        drills = [run_drill(parts, pair, actor=actor()) for pair in pairs]
    if as_json:
        rows = [{k: v for k, v in asdict(d.key).items() if k not in ("public_key", "user_ids")} for d in drills]
        results = [{"passed": d.passed, "code": d.code or None, "seconds": round(d.seconds, 3)} for d in drills]
        print_json([row | result for row, result in zip(rows, results, strict=True)])
    else:
        lines = [
            (
                d.key.key_id,
                d.key.account,
                d.key.fingerprint[-16:],
                "passed" if d.passed else d.code,
                _ago(d.key.last_used_at, now),
                d.detail or d.problem or f"{d.seconds:.2f} s",
            )
            for d in drills
        ]
        columns = ("key ID", "account", "OpenPGP key ID", "drill", "last used", "")
        print_table(columns, lines, empty="No pair opens files yet.")
    raise typer.Exit(0 if all(d.passed for d in drills) else 1)


def _chosen(parts: App, key_id: str, *, previous: bool) -> list[PgpKey]:
    """The pairs of a key ID that are not destroyed, newest first; only those before the newest when asked for."""
    kept = kept_pairs(parts, key_id)
    return kept[1:] if previous else kept


def _ago(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "never"
    days = (now - moment).days
    return "today" if days == 0 else f"{days} day{'s' if days > 1 else ''} ago"
