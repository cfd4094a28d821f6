"""One SSH connection: who may log in, and what a login may open.

Public keys only. An account that there is not is answered as a wrong key is: same steps, same time, same text
(FAULTS.md S7). Nothing but a session for ``sftp`` can be opened: forwarding of ports, agents, X11 and tunnels, shells
and commands are refused by the library's defaults or by options in `ingest.door.server` (S22).
"""

from __future__ import annotations

import asyncio
import binascii
import hmac
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import asyncssh
import structlog
from asyncssh import SSHKey, SSHServerChannel, SSHServerConnection

from ingest.door.occupancy import Occupancy
from ingest.door.session import SftpChannel, SftpSession
from ingest.door.upload import UploadsInProgress
from ingest.door.view import DropView, Published
from ingest.settings import DoorSettings
from ingest.spool import Spool, is_allowed_name

AuthorizedKeys = Callable[[str], Awaitable[Sequence[str] | None]]
"""Account to its OpenSSH public key lines; ``None`` for an account that is unknown or disabled."""

_MAX_SESSIONS = 4
_CHECKS_FOR_EACH_KEY = 2  # clients ask whether a key would do, and then sign with it
_DUMMY = ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",)

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class DoorConnection(asyncssh.SSHServer):
    """What the library asks about one connection."""

    def __init__(
        self,
        settings: DoorSettings,
        spool: Spool,
        occupancy: Occupancy,
        uploads: UploadsInProgress,
        *,
        authorized_keys: AuthorizedKeys,
        published: Published,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._occupancy = occupancy
        self._uploads = uploads
        self._authorized_keys = authorized_keys
        self._published = published
        self._connection: SSHServerConnection
        self._source = ""
        self._claimed: str | None = None  # the name that the client says it is
        self._account: str | None = None  # the name that a key was accepted for
        self._checks = 0
        self._wrong_keys = 0
        self._sessions = 0
        self._last_request = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None

    # --- coming and going

    def connection_made(self, conn: SSHServerConnection) -> None:
        """Refuse a connection too many, before anything is computed for it."""
        self._connection = conn
        self._source = str((conn.get_extra_info("peername") or ("",))[0])
        limit = "closing" if self._uploads.closed else self._occupancy.enter(conn, self._source)
        if limit is not None:
            log.warning("a connection was refused", action="door_refused", source=self._source, reason=limit)
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        del exc
        self._occupancy.leave(self._connection)
        if self._idle_timer is not None:
            self._idle_timer.cancel()

    # --- logging in

    def begin_auth(self, username: str) -> bool:
        """A login is always needed; changing the name half way ends the connection (FAULTS.md S8)."""
        if self._claimed is not None and self._claimed != username:
            raise asyncssh.ProtocolError("The user name may not change during a login")
        self._claimed = username
        return True

    def public_key_auth_supported(self) -> bool:
        """The only method."""
        return True

    async def validate_public_key(self, username: str, key: SSHKey) -> bool:
        """Whether the key is one of the account's; a connection that has tried too many is ended."""
        self._checks += 1
        if self._checks > _CHECKS_FOR_EACH_KEY * self._settings.max_auth_attempts:
            raise self._too_many()
        lines = await self._lines_of(username)
        # every line is compared, and an account without any has one to compare as well: the time tells nothing
        matches = [hmac.compare_digest(_public_bytes(line), key.public_data) for line in lines or _DUMMY]
        if lines and any(matches):
            self._account = username
            return True
        self._wrong_keys += 1
        if self._wrong_keys >= self._settings.max_auth_attempts:
            raise self._too_many()
        return False

    async def _lines_of(self, username: str) -> Sequence[str] | None:
        if not is_allowed_name(username):  # it becomes the name of a folder
            return None
        try:
            return await self._authorized_keys(username)
        except Exception:
            log.exception("a login could not be checked", action="door_login_failed", source=self._source)
            raise asyncssh.ServiceNotAvailable("Logins cannot be checked now; try again in a few minutes") from None

    def _too_many(self) -> asyncssh.DisconnectError:
        log.info("too many keys were tried", action="door_refused", source=self._source, reason="max_auth_attempts")
        return asyncssh.DisconnectError(
            asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "Too many authentication failures"
        )

    def auth_completed(self) -> None:
        """Logged in: from now on the time without a request counts."""
        self._occupancy.log_in(self._connection)
        log.info("an account logged in", action="door_login", account=self._account, source=self._source)
        self._touch()
        self._watch_idle()

    # --- what a login may open

    def session_requested(self) -> tuple[SSHServerChannel[bytes], SftpSession] | bool:
        """A session on the account's own drop."""
        account = self._account
        if (
            account is None
            or account != self._connection.get_extra_info("username")
            or self._sessions >= _MAX_SESSIONS
            or self._uploads.closed
        ):
            return False
        self._sessions += 1
        session = SftpSession(
            partial(
                DropView,
                account=account,
                spool=self._spool,
                uploads=self._uploads,
                max_file_bytes=self._settings.max_file_bytes,
                published=self._published,
            ),
            account=account,
            max_handles=self._settings.max_handles,
            on_request=self._touch,
            on_end=self._session_ended,
        )
        return SftpChannel(self._connection), session

    def _session_ended(self) -> None:
        self._sessions -= 1

    # --- idle time

    def _touch(self) -> None:
        self._last_request = asyncio.get_running_loop().time()

    def _watch_idle(self) -> None:
        """End the connection when its idle time is over, or look again when it could be."""
        loop = asyncio.get_running_loop()
        left_s = self._last_request + self._settings.idle_timeout_s - loop.time()
        if left_s > 0:
            self._idle_timer = loop.call_later(left_s, self._watch_idle)
            return
        log.info("an idle connection was ended", action="door_refused", account=self._account, reason="idle_timeout_s")
        self._connection.disconnect(asyncssh.DISC_BY_APPLICATION, "No request for too long")


def _public_bytes(line: str) -> bytes:
    """The key of an OpenSSH public key line (RFC 4253 §6.6); nothing matches what a broken line gives."""
    try:
        return binascii.a2b_base64(line.split()[1])
    except (IndexError, ValueError):
        return b""
