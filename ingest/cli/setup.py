"""``sealdrop init``, ``serve``, ``check`` and ``demo``: the installation as a whole."""

from __future__ import annotations

import asyncio
import signal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from ingest.cli.session import opened, text_of
from ingest.cli.show import AsJson, complain, hint, out, print_json, print_table
from ingest.logs import set_up_logs

if TYPE_CHECKING:
    from ingest.service import Service


class MailSecurity(StrEnum):
    """How the connection to the SMTP relay is protected."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


def init(
    folder: Annotated[Path, typer.Argument(help="Folder of the new installation.")] = Path(),
    host: Annotated[str, typer.Option(help="Address on which the door listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port on which the door listens.")] = 2222,
    mail_host: Annotated[str, typer.Option(help="SMTP relay for notices.")] = "",
    mail_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the SMTP relay.")] = 587,
    mail_security: Annotated[MailSecurity, typer.Option(help="`none` only for a relay on this machine.")] = (
        MailSecurity.STARTTLS
    ),
) -> None:
    """Make a new installation: settings file, master key, host key, ledger. Says what to do next.

    Example: `sealdrop init /srv/sealdrop`
    """
    from ingest.door.host_key import describe_host_key
    from ingest.installation import Choices, initialise

    choices = Choices(host, port, mail_host=mail_host, mail_port=mail_port, mail_security=mail_security.value)
    settings = initialise(folder, choices)
    host_key = describe_host_key(settings.door.host_key_file)
    file = folder / "sealdrop.toml"
    out.print(f"settings     {file}", markup=False)
    out.print(f"master key   {settings.vault.master_key_file}", markup=False)
    out.print(f"host key     {settings.door.host_key_file}  {host_key.fingerprint}", markup=False)
    out.print(f"data         {settings.data_dir}", markup=False)
    out.print(f"known_hosts  {host_key.known_hosts_line(settings.door.name, port)}", markup=False)
    hint("Keep a copy of the master key in a safe place: without it no stored key pair can be opened again.")
    where = "" if folder == Path() else f"--config {file} "
    hint(f"Next: sealdrop {where}account add acme --ssh-key KEY.pub --contact you@example.com")
    hint(f"Then: sealdrop {where}key generate acme, and sealdrop {where}serve")


def serve(
    context: typer.Context,
    only: Annotated[
        list[str] | None, typer.Option(help="Run only this part: door, worker, notices or http; repeatable.")
    ] = None,
) -> None:
    """Run the service until SIGTERM or Ctrl-C; then finish what runs, for a few seconds, and stop.

    SIGHUP reads the settings of the door anew, and the certificate of the HTTP API; who is connected stays.

    Example: `sealdrop serve`
    """
    from ingest.service import Part, Service

    try:
        parts = frozenset(Part(name) for name in only) if only else frozenset(Part)
    except ValueError:
        raise typer.BadParameter(f"--only takes {', '.join(Part)}") from None
    with opened(context) as app:
        set_up_logs(app.settings.log_level)
        asyncio.run(_until_signal(Service(app, parts), context.obj))


async def _until_signal(service: Service, settings_file: Path | None) -> None:
    stop, reload = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    async with service.running():
        if service.port is not None:
            hint(f"The door is open on port {service.port}.")
        if service.http_port is not None:
            hint(f"The HTTP API is open on port {service.http_port}.")
        reloading = asyncio.create_task(_reload_when(reload, service, settings_file))
        await stop.wait()
        reloading.cancel()
        hint("Stopping ...")


async def _reload_when(reload: asyncio.Event, service: Service, settings_file: Path | None) -> None:
    """Read the settings each time that ``reload`` is set; what cannot be used changes nothing, and is said."""
    from ingest.settings import find_settings_file, load_settings

    while True:
        await reload.wait()
        reload.clear()
        try:
            await service.reload(await asyncio.to_thread(load_settings, find_settings_file(settings_file)))
        except Exception as error:
            text = text_of(error)
            if text is None:
                raise
            complain(f"The settings stay as they were: {text}")
        else:
            hint("The settings were read anew.")


def check(context: typer.Context, as_json: AsJson = False) -> None:
    """Look at settings, permissions, keys, mail relay and disk. Exit code 1 when something would fail later.

    Example: `sealdrop check`
    """
    from ingest.checks import Verdict, run_checks

    with opened(context) as app:
        findings = run_checks(app)
    if as_json:
        print_json([{"check": f.check, "verdict": f.verdict, "text": f.text} for f in findings])
    else:
        style = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red"}
        rows = [(Text(f.verdict, style=style[f.verdict]), f.check, f.text) for f in findings]
        print_table(("", "check", "finding"), rows, empty="")
    raise typer.Exit(1 if any(f.verdict is Verdict.FAIL for f in findings) else 0)


def sweep(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, only tell what would go.")] = False,
    believe_clock: Annotated[
        bool, typer.Option("--believe-clock", help="The clock is right, although it has just jumped.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what is older than the settings in [retention] keep it; the service does so every hour.

    Exit code 1 when nothing was done because the clock has jumped.

    Example: `sealdrop sweep --dry-run`
    """
    from ingest import retention

    with opened(context) as app:
        done = retention.sweep(app, dry_run=dry_run, believe_clock=believe_clock)
    if as_json:
        swept = [{"what": each.what, "count": each.count, "bytes": each.bytes} for each in done.swept]
        print_json({"dry_run": dry_run, "swept": swept, "distrusted_until": done.distrusted_until})
    elif done.distrusted_until is None:
        rows = [(each.what, f"{each.count:,}", "" if each.bytes is None else f"{each.bytes:,}") for each in done.swept]
        print_table(("would go" if dry_run else "removed", "count", "bytes"), rows, empty="")
    if done.distrusted_until is not None:
        complain(
            f"The clock has jumped: nothing is removed before {done.distrusted_until:%Y-%m-%d %H:%M} UTC. If the clock "
            "is right, --believe-clock says so."
        )
    raise typer.Exit(0 if done.distrusted_until is None else 1)


def demo(
    keep: Annotated[
        Path | None, typer.Option(help="Run in this new folder and keep it; default is a temporary one.")
    ] = None,
) -> None:
    """Show the whole way on this machine: keys, encryption, SFTP, import, mails, data.

    Uses the real gpg and sftp when they are there. Exit code 0 only when everything arrived.

    Example: `sealdrop demo`
    """
    from ingest.demo.story import run_demo

    raise typer.Exit(run_demo(keep))
