"""The settings: one TOML file, each value also from the environment as ``SEALDROP_SECTION__KEY``.

Secrets are never settings: a setting names the file that holds one. Relative paths are relative to the folder of the
settings file. Units stand in the names.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ingest.http.settings import HttpSettings, LakeSettings, UploadSettings
from ingest.notices.settings import MailSettings, NoticeSettings, WebhookSettings
from ingest.section import AddressList, NotNegative, Port, PositiveInt, Seconds, Section

DEFAULT_FILES = (Path("sealdrop.toml"), Path("/etc/sealdrop/sealdrop.toml"))


class SettingsInvalid(Exception):
    """The settings cannot be used; ``problems`` has one line for each thing wrong."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DoorSettings(Section):
    """The SFTP server."""

    host: str = Field("127.0.0.1", description="Address to listen on; `0.0.0.0` for all.")
    port: Port = Field(2222, description="Port to listen on; 0 takes a free one.")
    host_key_file: Path = Field(
        Path("ssh_host_ed25519_key"), description="Private host key, made by `init`, mode 0600."
    )
    next_host_key_file: Path | None = Field(
        None,
        description="A second host key, told to clients so that they know it before it takes the first one's place; "
        '`ssh-keygen -t ed25519 -N "" -f FILE` makes one.',
    )
    max_file_bytes: PositiveInt = Field(1_000_000_000, description="Largest upload; refused at the first byte over.")
    max_account_files: PositiveInt = Field(
        10_000, description="Files that one account may have waiting, unfinished uploads included."
    )
    max_account_bytes: PositiveInt = Field(
        20_000_000_000, description="Bytes of them all together; refused at the first byte over."
    )
    keep_unfinished_s: Seconds = Field(
        86_400, description="How long an interrupted upload is kept, so that its client can continue it."
    )
    login_timeout_s: Seconds = Field(30, description="Time for a client to authenticate.")
    idle_timeout_s: Seconds = Field(900, description="Time without a request after which a session ends.")
    stall_timeout_s: Seconds = Field(
        120, description="Time over which an open upload must grow as fast as `min_upload_bytes_per_s`."
    )
    min_upload_bytes_per_s: PositiveInt = Field(
        100, description="Slowest upload; what has arrived of a slower one is kept to be continued."
    )
    drain_s: Seconds = Field(20, description="Time for running uploads to finish when the service stops.")
    max_connections: PositiveInt = Field(200, description="Open connections at once, all clients together.")
    max_connections_per_source: PositiveInt = Field(20, description="Open connections at once from one address.")
    max_connections_per_account: PositiveInt = Field(20, description="Open connections at once of one account.")
    max_unauthenticated: PositiveInt = Field(50, description="Connections at once that have not logged in yet.")
    random_drop_from: PositiveInt = Field(
        20,
        description="So many that have not logged in yet, from which on chance drops new ones, the more the nearer "
        "`max_unauthenticated` is.",
    )
    max_auth_attempts: PositiveInt = Field(6, description="Keys that one connection may try.")
    max_handles: PositiveInt = Field(32, description="Open files and folders at once in one session.")
    penalty_max_s: Seconds = Field(
        600, description="Longest time for which a source that keeps failing to log in is shut out."
    )
    penalty_exempt: AddressList = Field(
        "127.0.0.0/8,::1",
        description="Addresses, patterns and networks that are never shut out: many clients behind one address, "
        "a balancer that does not speak the PROXY protocol.",
    )
    proxy_from: AddressList = Field(
        "",
        description="Balancers (addresses, patterns, networks) whose connections begin with a header of PROXY "
        "protocol 2, which says where the client is.",
    )
    reuse_port: bool = Field(
        default=False,
        description="Let up to 16 processes of this machine listen on the port: run `sealdrop serve --only door` "
        "several times with the same settings, and `sealdrop serve --only worker --only notices` beside them. They "
        "share the limits of connections, files and bytes, the penalties, and which name is being uploaded; what one "
        "has counted goes with it. Limits of one connection or session hold in each anyway. Machines share nothing "
        "but the drops.",
    )
    shared_dir: Path = Field(
        Path("/dev/shm"),  # noqa: S108  # opened with care: `ingest.door.sheets`
        description="Folder in memory in which processes on one port count together; only used with `reuse_port`. Its "
        "file of 17 MB stays after the last of them: removing it while one starts would part the two.",
    )
    allow_chacha20: bool = Field(
        default=False,
        description="Offer chacha20-poly1305 to clients that have no AES that we have.",
    )
    banner: bool = Field(
        default=False,
        description="Send a line with the limits before the login. Programs that run in the night show it as well.",
    )

    @property
    def name(self) -> str:
        """The name by which clients know the door; an address that means all is none."""
        return socket.getfqdn() if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104  # compared, not bound


class OpenPgpSettings(Section):
    """Decryption."""

    engine: Literal["auto", "native", "gnupg"] = Field(
        "auto",
        description="`native` is our reader, `gnupg` the gpg program; `auto` asks gpg only for what ours cannot read. "
        "An account that may not use gpg is always read by ours.",
    )
    max_plain_bytes: PositiveInt = Field(5_000_000_000, description="Largest plain text of one file.")
    max_ratio: PositiveInt = Field(200, description="Largest plain text to cipher text ratio, beyond the first 100 MB.")
    max_seconds: Seconds = Field(3600, description="Longest decryption of one file.")
    key_cache_s: Seconds = Field(300, description="How long a worker keeps an unlocked private key.")


class WorkerSettings(Section):
    """The processes that carry out imports."""

    processes: PositiveInt = Field(2, description="Worker processes.")
    lease_s: Seconds = Field(
        60, description="Time without a heartbeat after which another worker takes an import over."
    )
    poll_s: Seconds = Field(1, description="Time between two looks into the ledger when nothing nudges the worker.")
    max_lost: PositiveInt = Field(3, description="Workers that may be lost over one import before it is held.")
    retry_floor_s: Seconds = Field(10, description="Wait before the second try; doubles with each further one.")
    retry_ceiling_s: Seconds = Field(600, description="Longest wait between two tries.")
    give_up_after_s: Seconds = Field(86400, description="Time of trying again after which an import is held.")
    drain_s: Seconds = Field(
        20, description="Time for running imports to finish when the service stops; then they are given back."
    )
    max_memory_bytes: NotNegative = Field(
        8_000_000_000,
        description="Memory that a worker may ask for, used or not: several times what it has resident. One that asks "
        "for more ends, and after `max_lost` times its import is held. 0 is no limit.",
    )
    chunk_bytes: PositiveInt = Field(6_000_000, description="Plain text that is parsed at once.")


class WatchSettings(Section):
    """Looking for files that did not come through the door."""

    inotify: bool = Field(
        default=True,
        description="Let the system tell of new files, so that they are seen earlier; the looks go on all the same.",
    )
    rescan_s: Seconds = Field(
        3,
        description="Time between two looks into the drops, and for a file to look the same to be complete.",
    )


class ResultSettings(Section):
    """What the sender finds in `results/`."""

    max_rejects_shown: PositiveInt = Field(
        100, description="Rejected rows listed in the report and kept in the ledger."
    )
    max_rejects_in_file: PositiveInt = Field(10_000, description="Rejected rows in the encrypted reject file.")
    max_reject_bytes: PositiveInt = Field(8_000_000, description="Size of the rows in the encrypted reject file.")


class RetentionSettings(Section):
    """How long things are kept that nobody needs for an import any more; the sweeper removes them every hour."""

    archive_days: NotNegative = Field(
        7,
        description="Days for which the files of an import stay after its end, as they were sent, to be tried again or "
        "replayed; 0 removes those of a stored import at once. Those of one that is held always stay.",
    )
    results_days: PositiveInt = Field(
        30, description="Days for which the sender finds an import's files in `results/`."
    )
    notices_days: Annotated[int, Field(ge=60)] = Field(
        90, description="Days for which the ledger remembers notices that were sent or given up; at least 60."
    )
    timeline_days: PositiveInt = Field(
        365, description="Days for which the ledger keeps the timeline of an import that is over."
    )
    audit_days: NotNegative = Field(
        0,
        description="Days after which the oldest lines of the audit are cut off, at most once a day; what stays can "
        "still be verified. 0 keeps all of it for ever.",
    )


class DiskSettings(Section):
    """Room that is kept free where spool, lake and ledger lie: uploads stop first, then imports, commits never."""

    min_free_bytes: NotNegative = Field(
        2_000_000_000,
        description="Free bytes below which no new upload is taken; below half of it running uploads are refused as "
        "well, and no import is started.",
    )
    min_free_inodes: NotNegative = Field(10_000, description="The same for files that the file system can still hold.")


class LimitSettings(Section):
    """What an account may store."""

    max_properties: PositiveInt = Field(
        256, description="Properties of one event, and custom properties of all profiles of an account together."
    )
    max_event_names: PositiveInt = Field(512, description="Different event names of an account.")


class VaultSettings(Section):
    """Source of the master key: systemd credential `master-key`, else this file, else the environment."""

    master_key_file: Path = Field(Path("master.key"), description="File with the master key, mode 0600.")
    allow_environment: bool = Field(
        default=False,  # visible in /proc and in container inspection (FAULTS.md K2)
        description="Allow SEALDROP_MASTER_KEY in the environment.",
    )


class Settings(BaseSettings):
    """All settings of one installation."""

    model_config = SettingsConfigDict(env_prefix="SEALDROP_", env_nested_delimiter="__", extra="forbid", frozen=True)

    data_dir: Path = Field(Path("sealdrop-data"), description="Spool, lake and ledger lie here.")
    ledger_url: str = Field("", description="SQLAlchemy URL of the ledger; empty is SQLite in the data folder.")
    door: DoorSettings = Field(default_factory=DoorSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    openpgp: OpenPgpSettings = Field(default_factory=OpenPgpSettings)
    mail: MailSettings = Field(default_factory=MailSettings)
    notices: NoticeSettings = Field(default_factory=NoticeSettings)
    webhook: WebhookSettings = Field(default_factory=WebhookSettings)
    worker: WorkerSettings = Field(default_factory=WorkerSettings)
    watch: WatchSettings = Field(default_factory=WatchSettings)
    results: ResultSettings = Field(default_factory=ResultSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    disk: DiskSettings = Field(default_factory=DiskSettings)
    limits: LimitSettings = Field(default_factory=LimitSettings)
    uploads: UploadSettings = Field(default_factory=UploadSettings)
    lake: LakeSettings = Field(default_factory=LakeSettings)
    vault: VaultSettings = Field(default_factory=VaultSettings)
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")

    @field_validator("ledger_url")
    @classmethod
    def _is_a_url(cls, url: str) -> str:
        try:
            make_url(url or "sqlite://")
        except ArgumentError:
            raise ValueError("this is no SQLAlchemy URL, such as postgresql+psycopg://user@host/sealdrop") from None
        return url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file over defaults; no dotenv file, no secrets folder."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def ledger(self) -> str:
        """The SQLAlchemy URL of the ledger."""
        return self.ledger_url or f"sqlite:///{self.data_dir / 'ledger.db'}"

    @property
    def spool_dir(self) -> Path:
        """Where the customers' files lie between the door and the lake."""
        return self.data_dir / "spool"

    @property
    def lake_dir(self) -> Path:
        """Where the customers' data lies."""
        return self.data_dir / "lake"


def find_settings_file(given: Path | None) -> Path | None:
    """The settings file to read: the given one, else the first of `DEFAULT_FILES` that exists.

    Raises `SettingsInvalid` when the given file does not exist.
    """
    if given is not None:
        if not given.is_file():
            raise SettingsInvalid([f"{given}: there is no such settings file; `sealdrop init` makes one"])
        return given
    return next((path for path in DEFAULT_FILES if path.is_file()), None)


def load_settings(file: Path | None) -> Settings:
    """Read the settings from ``file`` (or defaults only) and the environment; paths come back absolute.

    Raises `SettingsInvalid` with every problem at once.
    """

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    problems = _unknown_in_environment()
    try:
        settings = FromFile()
    except ValidationError as error:
        where = str(file) if file is not None else "settings"
        problems += [f"{where}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise SettingsInvalid(problems) from None
    except OSError as error:
        raise SettingsInvalid([f"{file} cannot be read: {error.strerror}"]) from None
    except ValueError as error:  # TOML that does not parse
        raise SettingsInvalid([f"{file}: {error}"]) from None
    if problems:
        raise SettingsInvalid(problems)
    # a plain `Settings`, which a spawned process can be given
    loaded = Settings.model_construct(**{name: getattr(settings, name) for name in Settings.model_fields})
    return _absolute(loaded, file.resolve().parent if file is not None else Path.cwd())


def _unknown_in_environment() -> list[str]:
    """Variables that look like a setting and name no section: pydantic passes over them, and a typo stays unseen."""
    sections = {name.upper() for name in Settings.model_fields}
    named = ((name, name.upper().removeprefix("SEALDROP_").partition("__")) for name in sorted(os.environ))
    return [
        f"environment: {name}: there is no section of this name"
        for name, (section, separator, _) in named
        if name.upper().startswith("SEALDROP_") and separator and section not in sections
    ]


def _absolute(settings: Settings, folder: Path) -> Settings:
    """Resolve relative paths of the sections against ``folder``."""

    def resolved(model: BaseModel) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in type(model).model_fields:
            value = getattr(model, name)
            if isinstance(value, Path):
                values[name] = folder / value.expanduser()
            elif isinstance(value, BaseModel):
                values[name] = value.model_copy(update=resolved(value))
        return values

    return settings.model_copy(update=resolved(settings))
