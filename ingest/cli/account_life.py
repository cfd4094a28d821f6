"""``sealdrop account disable``, ``enable`` and ``remove``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.session import actor, confirm, needed_account, opened
from ingest.cli.show import hint, out

if TYPE_CHECKING:
    from ingest.account_life import Ended


def disable(context: typer.Context, name: str) -> None:
    """Let nobody log in as a customer. Imports that wait fail with `account.disabled` and a mail; their files are kept.

    Example: `sealdrop account disable acme`
    """
    from ingest.account_life import disable as end

    with opened(context) as parts:
        needed_account(parts, name)
        ended = end(parts, name, actor=actor())
    out.print(f"account {name} disabled", markup=False)
    _tell(ended)
    hint(f"`sealdrop account enable {name}` lets it in again; `sealdrop imports retry ID` tries an import again then.")


def enable(context: typer.Context, name: str) -> None:
    """Let a disabled customer log in and import again.

    Example: `sealdrop account enable acme`
    """
    from ingest.account_life import enable as reopen

    with opened(context) as parts:
        needed_account(parts, name)
        reopen(parts, name, actor=actor())
    out.print(f"account {name} enabled", markup=False)


def remove(
    context: typer.Context,
    name: str,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove a customer for good: its key pairs are destroyed, waiting imports fail, files in the drop are deleted.

    Its data in the lake, the history of its imports and the audit stay, and so does its name, which is not given again.

    Example: `sealdrop account remove acme`
    """
    from ingest.account_life import remove as end

    with opened(context) as parts:
        needed_account(parts, name)
        confirm(f"Remove {name}, destroy its private keys and delete its files in the drop for good?", yes=yes)
        ended = end(parts, name, actor=actor())
        lake = parts.settings.lake_dir / name
    out.print(f"account {name} removed", markup=False)
    _tell(ended)
    hint(f"Its data stays in the lake: {lake}")


def _tell(ended: Ended) -> None:
    if ended.imports:
        hint(f"Imports that waited and have ended now: {ended.imports}; their senders get a mail.")
    if ended.unfinished:
        hint(f"Imports that a worker is carrying out, and will end: {ended.unfinished}.")
