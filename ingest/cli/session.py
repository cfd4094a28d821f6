"""What every command needs: the installation's parts, the actor for the audit, the errors with a text for people."""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

import failpoints
from ingest.errors import Refused
from ingest.settings import SettingsInvalid, find_settings_file, load_settings
from ingest.webhook_url import WebhookUrlInvalid

if TYPE_CHECKING:
    from ingest.app import App
    from ingest.ledger.accounts import Account


_MOST_FILE_BYTES = 1 << 20


class CommandFailed(Exception):
    """A command cannot do what it was asked; the text says why and what to do."""


def text_of(error: Exception) -> str | None:
    """An error's text for the operator, who may see the detail as well; ``None`` for an error that nobody foresaw."""
    if isinstance(error, (CommandFailed, SettingsInvalid, Refused, WebhookUrlInvalid)):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fspath(error.filename)}: {error.strerror}."
    public, detail = getattr(error, "public", None), getattr(error, "detail", "")
    return f"{public}\n({detail})" if public and detail else public


@contextlib.contextmanager
def opened(context: typer.Context) -> Iterator[App]:
    """The installation that the command is about; its ledger is brought to this version."""
    from ingest.app import App  # after --help has been answered

    given: Path | None = context.obj
    file = find_settings_file(given)
    if file is None:
        raise CommandFailed(
            "There is no sealdrop.toml here or in /etc/sealdrop: run `sealdrop init`, or name one with --config."
        )
    with contextlib.closing(App(load_settings(file))) as app:
        _arm_failpoint()
        app.database.migrate()
        yield app


def _arm_failpoint() -> None:
    try:
        failpoints.arm(os.environ)
    except failpoints.FailpointInvalid as error:
        raise CommandFailed(str(error)) from None


def read_file(file: Path) -> bytes:
    """The content of a small file. Raises `CommandFailed` when it cannot be read or is too large for a key."""
    try:
        with file.open("rb") as opened_file:
            content = opened_file.read(_MOST_FILE_BYTES + 1)
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}.") from None
    if len(content) > _MOST_FILE_BYTES:
        raise CommandFailed(f"{file} is larger than {_MOST_FILE_BYTES:,} bytes: that is no key.")
    return content


def needed_account(app: App, name: str, *, also_removed: bool = False) -> Account:
    """The account of this name. Raises `CommandFailed` when there is none, or it was removed and that matters."""
    account = app.accounts.get(name)
    if account is None:
        raise CommandFailed(f"There is no account {name}: `sealdrop account list` shows the accounts.")
    if account.state == "removed" and not also_removed:
        raise CommandFailed(f"The account {name} was removed; only its data, imports and audit are still here.")
    return account


def confirm(question: str, *, yes: bool) -> None:
    """Ask whoever is at the terminal, unless ``yes``. Raises `CommandFailed` when the answer is no, or nobody is."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise CommandFailed(f"{question} Nothing was done: --yes says yes where nobody can be asked.")
    if not typer.confirm(question, err=True):
        raise CommandFailed("Nothing was done.")


def actor() -> str:
    """Who is at the command line, for the audit."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a user ID without a name, as in a container
        return "cli"
