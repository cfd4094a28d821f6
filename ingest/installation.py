"""Making a new installation: settings file, master key, host key, ledger, folders. Refuses to touch an existing one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ingest.app import App
from ingest.door.host_key import make_host_key
from ingest.ledger import audit
from ingest.settings import Settings, SettingsInvalid, load_settings
from keystore.master_key import clear_up, make_master_key
from keystore.vault import Vault

_SETTINGS = """\
# Sealdrop settings. Every value can also come from the environment: SEALDROP_DOOR__PORT=22.
# All settings with their defaults: docs/configuration.md

data_dir = "data"

[door]
host = {host}
port = {port}

[mail]
# The SMTP relay for notices. Without a host no mail is sent; notices wait until there is one.
host = {mail_host}
port = {mail_port}
security = {mail_security}      # "starttls", "tls", or "none" for a relay on this machine
sender = "sealdrop@localhost"
# username = "sealdrop"
# password_file = "smtp_password"

[http]
# The HTTP API is off until it has a certificate.
# host = "0.0.0.0"
# port = 8443
# certificate_file = "tls.pem"
# key_file = "tls.key"
# public_url = "https://api.example.com"
"""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a new settings file says."""

    host: str
    port: int
    mail_host: str
    mail_port: int
    mail_security: str = "starttls"


def initialise(folder: Path, choices: Choices) -> Settings:
    """Make an installation in ``folder`` and return its settings.

    Raises `SettingsInvalid` when there is a settings file already. Key files that exist are kept as they are, so that
    an attempt that was interrupted can be finished.
    """
    file = folder / "sealdrop.toml"
    if file.exists():
        raise SettingsInvalid([f"{file}: there is an installation here already; nothing was changed"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = folder / ".sealdrop.toml.part"
    values = {name: json.dumps(value) for name, value in asdict(choices).items()}  # a JSON string is a TOML string
    part.write_text(_SETTINGS.format(**values))
    settings = load_settings(part)
    prepare(settings)
    part.replace(file)  # last: the settings file says that the installation is complete
    return load_settings(file)


def prepare(settings: Settings) -> None:
    """Make whatever of an installation is not there yet; changes nothing that is.

    Raises `MasterKeyMissing` or `MasterKeyWrong` when a ledger is there that was sealed under another master key: a new
    one would not open it (FAULTS.md K2).
    """
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    app = App(settings)
    try:
        app.database.migrate()
        if not app.master_keys.all():
            _seal_ledger(app)
        vault = app.open_vault()
        clear_up(settings.vault.master_key_file)
        audit.start_key(app.database, vault, at=app.now())
        if not settings.door.host_key_file.exists():
            make_host_key(settings.door.host_key_file)
        app.spool.prepare()
        settings.lake_dir.mkdir(mode=0o700, exist_ok=True)
    finally:
        app.close()


def _seal_ledger(app: App) -> None:
    """Put a new ledger under the master key that is there, or under a new one when no source has any."""
    if app.held_keys.first() is None:
        make_master_key(app.settings.vault.master_key_file)
    key = app.held_keys.first()
    if key is not None:
        app.master_keys.begin(Vault(key.secret), at=app.now(), actor="sealdrop")
