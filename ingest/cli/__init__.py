"""The command line: ``sealdrop``. Thin: it reads arguments, calls the flow, and shows what comes back.

Results go to standard output, messages to standard error; exit codes are 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ingest.cli import (
    account_life,
    accounts,
    api,
    api_call,
    audit,
    data,
    imports,
    key_life,
    keys,
    keysets,
    manifest,
    notices,
    setup,
    signers,
    ssh_keys,
    vault,
    webhooks,
)
from ingest.cli.session import text_of
from ingest.cli.show import complain
from ingest.hardening import harden_process
from ingest.logs import set_up_logs

app = typer.Typer(
    name="sealdrop",
    help="A drop box for encrypted customer data: SFTP and PGP in, typed rows in an open lake, and a mail about it.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)


@app.callback()
def options(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="Settings file; default ./sealdrop.toml, then /etc/sealdrop/sealdrop.toml."),
    ] = None,
) -> None:
    """Options before the command."""
    harden_process(end_with_parent=False)  # any command may come to hold a secret
    context.obj = config
    set_up_logs("warning")


for command in (setup.init, setup.serve, setup.demo, setup.check, setup.sweep):
    app.command()(command)
for key_command in (key_life.rotate, key_life.retire, key_life.activate, key_life.destroy, key_life.drill):
    keys.app.command()(key_command)
for account_command in (account_life.disable, account_life.enable, account_life.remove):
    accounts.app.command()(account_command)
accounts.app.add_typer(webhooks.app, name="webhook")
for api_command in (api_call.call, api_call.keyset):
    api.app.command()(api_command)
app.add_typer(accounts.app, name="account")
app.add_typer(ssh_keys.app, name="ssh-key")
app.add_typer(keys.app, name="key")
app.add_typer(signers.app, name="signer")
app.add_typer(keysets.app, name="keyset")
app.add_typer(api.app, name="api")
app.add_typer(vault.app, name="vault")
app.add_typer(audit.app, name="audit")
app.add_typer(manifest.app, name="manifest")
app.add_typer(imports.run_app, name="import")
app.add_typer(imports.app, name="imports")
app.add_typer(notices.app, name="notices")
app.add_typer(data.profile_app, name="profile")
app.add_typer(data.events_app, name="events")
app.add_typer(data.lake_app, name="lake")


def main() -> None:
    """Run the command line; the only place that turns errors into exit codes."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has ended, as `head` does
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:
        text = text_of(error)
        if text is None:
            raise
        complain(text)
        sys.exit(1)
