"""`sealdrop check`: what would fail later, found now."""

from __future__ import annotations

import os
import shutil
import smtplib
import ssl
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path

import failpoints
from ingest.app import App
from ingest.door.errors import DoorError
from ingest.door.host_key import describe_host_key
from ingest.http.errors import HttpError
from ingest.http.tls import describe_certificate
from ingest.recovery import unknown_imports
from ingest.states import PairState
from ingest.vault_state import vault_state

_ENOUGH_DISK_BYTES = 5_000_000_000
_RELAY_TIMEOUT_S = 10.0
_EXPIRY_WARNING = timedelta(days=30)
_PATCHED_PYTHON = {(3, 11): (3, 11, 10), (3, 12): (3, 12, 5)}


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found; ``text`` says what to do when the verdict is not ``ok``."""

    check: str
    verdict: Verdict
    text: str


def run_checks(app: App) -> list[Finding]:
    """All findings, in a fixed order; changes nothing but a test file that it removes again."""
    checks: tuple[Callable[[App], Iterator[Finding]], ...] = (
        _versions,
        _folders,
        _vault,
        _recovery,
        _host_key,
        _accounts,
        _mail,
        _http,
        _programs,
        _failpoint,
    )
    return [finding for check in checks for finding in check(app)]


def _versions(_app: App) -> Iterator[Finding]:
    running = sys.version_info[:3]
    needed = _PATCHED_PYTHON.get(running[:2])
    name = ".".join(map(str, running))
    if (
        needed is not None and running < needed
    ):  # mail headers could be injected (FAULTS.md M1); we filter, but patch it
        yield Finding("python", Verdict.WARN, f"{name} lacks security fixes of {'.'.join(map(str, needed))}: update it")
    else:
        yield Finding("python", Verdict.OK, name)
    yield Finding("asyncssh", Verdict.OK, version("asyncssh"))


def _folders(app: App) -> Iterator[Finding]:
    folder = app.settings.data_dir
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(
            "data folder", Verdict.FAIL, f"{folder} cannot be written: run `sealdrop init`, or correct its owner"
        )
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        yield Finding("data folder", Verdict.WARN, f"{folder} can be read by others (mode {mode:04o}): chmod 700")
    else:
        yield Finding("data folder", Verdict.OK, str(folder))
    yield _one_file_system(app)
    yield _disk(app)


def _recovery(app: App) -> Iterator[Finding]:
    """Files that a restored ledger does not know; those with an owner come back when a service starts."""
    if not app.spool.root.is_dir():
        return
    lost = unknown_imports(app)
    if not lost:
        return
    with_owner = [import_id for import_id in lost if app.spool.owner(import_id) is not None]
    text = f"{len(lost):,} imports have files in the spool and are not in the ledger ({lost[0]} is the first): "
    text += "`sealdrop serve` brings them back at its start" if with_owner else "their account is not known either"
    yield Finding("recovery", Verdict.WARN if len(with_owner) == len(lost) else Verdict.FAIL, text)


def _disk(app: App) -> Finding:
    free = app.disk.free()
    app.disk.look()
    text = f"{free.bytes / 1e9:,.1f} GB free" + ("" if free.inodes is None else f", for {free.inodes:,} files")
    if app.disk.is_low:
        stopped = "uploads and imports are" if app.disk.is_lowest else "new uploads are"
        return Finding("disk", Verdict.FAIL, f"{text}: {stopped} refused (`disk` in the settings); make room")
    return Finding("disk", Verdict.OK if free.bytes >= _ENOUGH_DISK_BYTES else Verdict.WARN, text)


def _one_file_system(app: App) -> Finding:
    root = app.spool.root
    if not root.is_dir():
        return Finding("spool", Verdict.WARN, f"{root} is not there yet; `sealdrop serve` makes it")
    devices = {entry.stat().st_dev for entry in root.iterdir() if entry.is_dir()} | {root.stat().st_dev}
    if len(devices) > 1:
        return Finding("spool", Verdict.FAIL, f"the folders in {root} lie on several file systems; they must share one")
    return Finding("spool", Verdict.OK, str(root))


def _vault(app: App) -> Iterator[Finding]:
    state = vault_state(app)
    if state.problem is not None:
        yield Finding("master key", Verdict.FAIL, state.problem)
    elif state.to_do is not None:
        yield Finding("master key", Verdict.WARN, state.to_do)
    else:
        yield Finding("master key", Verdict.OK, f"opens what the ledger holds; it comes from {state.source}")


def _host_key(app: App) -> Iterator[Finding]:
    door = app.settings.door
    for check, file in (("host key", door.host_key_file), ("next host key", door.next_host_key_file)):
        if file is None:
            continue
        try:
            host_key = describe_host_key(file)
        except DoorError as error:
            yield Finding(check, Verdict.FAIL, error.public)
        else:
            yield Finding(check, Verdict.OK, host_key.fingerprint)
            yield Finding("known_hosts", Verdict.OK, host_key.known_hosts_line(door.name, door.port))


def _accounts(app: App) -> Iterator[Finding]:
    accounts = app.accounts.all()
    if not accounts:
        yield Finding("accounts", Verdict.WARN, "none yet: `sealdrop account add` adds one")
    now = app.now()
    for account in accounts:
        if account.state != "active":
            yield Finding(f"account {account.id}", Verdict.OK, account.state)
            continue
        lacks = []
        stored = app.pgp_keys.of_account(account.id)
        keys = [key for key in stored if key.opens_files(now)]
        if not any(key.expires_at is None or key.expires_at > now for key in account.ssh_keys):
            lacks.append("no SSH key")
        if not account.contacts and not account.allowed_domains and account.webhook is None:
            lacks.append("no address for notices")
        if account.require_encryption and not keys:
            lacks.append("no key pair that opens files" if stored else "no key pair")
        replaced = {key.key_id for key in keys if key.state is PairState.ACTIVE}
        for key in keys:
            ends_at = key.ends_at()
            if key.state is PairState.RETIRING and key.key_id in replaced:
                continue  # a previous pair is meant to end
            if ends_at is not None and ends_at < now + _EXPIRY_WARNING:
                ends = "retires" if ends_at == key.retires_at else "expires"
                lacks.append(f"key pair {key.key_id} {ends} on {ends_at:%Y-%m-%d}")
        lacks += [
            f"SSH key {key.fingerprint} expires on {key.expires_at:%Y-%m-%d}"
            for key in account.ssh_keys
            if key.expires_at is not None and key.expires_at < now + _EXPIRY_WARNING
        ]
        yield Finding(f"account {account.id}", Verdict.WARN if lacks else Verdict.OK, ", ".join(lacks) or "complete")


def _mail(app: App) -> Iterator[Finding]:
    mail = app.settings.mail
    if not mail.host:
        yield Finding("mail", Verdict.WARN, "no relay: notices wait until `mail.host` is set")
        return
    if mail.password_file is not None:
        yield _private_file("mail password", mail.password_file)
    place = f"{mail.host}:{mail.port}"
    timeout = min(mail.timeout_s, _RELAY_TIMEOUT_S)
    try:
        context = ssl.create_default_context(cafile=mail.ca_file)
        if mail.security == "tls":
            with smtplib.SMTP_SSL(mail.host, mail.port, timeout=timeout, context=context) as relay:
                relay.ehlo_or_helo_if_needed()
            starttls = False
        else:
            with smtplib.SMTP(mail.host, mail.port, timeout=timeout) as relay:
                relay.ehlo_or_helo_if_needed()
                starttls = relay.has_extn("starttls")
                if mail.security == "starttls" and starttls:
                    relay.starttls(context=context)
    except (OSError, smtplib.SMTPException) as error:
        yield Finding("mail", Verdict.FAIL, f"{place} does not answer as `mail.security` asks: {error}")
        return
    if mail.security == "starttls" and not starttls:
        yield Finding("mail", Verdict.FAIL, f"{place} offers no STARTTLS, which `mail.security` asks for")
    else:
        yield Finding("mail", Verdict.OK, f"{place} answers")


def _http(app: App) -> Iterator[Finding]:
    http = app.settings.http
    if not http.enabled:
        yield Finding("http", Verdict.OK, "off: it needs a certificate")
        return
    if http.certificate_file is None or http.key_file is None:
        yield Finding("http", Verdict.WARN, f"without TLS, on {http.host} port {http.port}: for this machine only")
        return
    try:
        ends_at = describe_certificate(http)
    except HttpError as error:
        yield Finding("http", Verdict.FAIL, f"{error.public} {error.detail}".rstrip())
        return
    yield _private_file("http key", http.key_file)
    left = ends_at - app.now()
    ends = f"{http.certificate_file} ends on {ends_at:%Y-%m-%d}"
    if left < timedelta():
        yield Finding("http certificate", Verdict.FAIL, f"{ends}: clients refuse it; put a new one in its place")
    else:
        soon = left < _EXPIRY_WARNING
        yield Finding("http certificate", Verdict.WARN if soon else Verdict.OK, f"{ends}: renew it" if soon else ends)
    for account, authority in app.api_accesses.authorities():
        if http.client_certificates == "off":
            text = f"{account} has a CA, but nobody is asked for a certificate: set `client_certificates` in [http]"
            yield Finding("client CA", Verdict.FAIL, text)
        elif authority.expires_at < app.now() + _EXPIRY_WARNING:
            text = f"{authority.fingerprint} of {account} ends on {authority.expires_at:%Y-%m-%d}"
            yield Finding("client CA", Verdict.WARN, text)


def _private_file(check: str, path: Path) -> Finding:
    if not path.is_file():
        return Finding(check, Verdict.FAIL, f"{path} is not there")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Finding(check, Verdict.FAIL, f"{path} can be read by others: chmod 600")
    return Finding(check, Verdict.OK, str(path))


def _programs(app: App) -> Iterator[Finding]:
    gpg = shutil.which("gpg")
    if gpg is not None:
        yield Finding("gpg", Verdict.OK, gpg)
    elif app.settings.openpgp.engine == "gnupg":
        yield Finding("gpg", Verdict.FAIL, "not installed, but `openpgp.engine` asks for it")
    else:
        yield Finding("gpg", Verdict.OK, "not installed: only needed for unusual messages")


def _failpoint(_app: App) -> Iterator[Finding]:
    if failpoints.VARIABLE in os.environ:
        text = f"{failpoints.VARIABLE} is in the environment: the service would die or fail on purpose. Remove it"
        yield Finding("failpoint", Verdict.FAIL, text)
