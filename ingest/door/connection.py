"""One SSH connection: who may log in, and what a login may open.

Public keys and certificates only. An account that there is not is answered as a wrong key is: same steps, same time,
same text (FAULTS.md S7). Nothing but a session for ``sftp`` can be opened: forwarding of ports, agents, X11 and
tunnels, shells and commands are refused by the library's defaults or by options in `ingest.door.server` (S22).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import cast

import asyncssh
import structlog
from asyncssh import SSHKey, SSHServerChannel, SSHServerConnection
from asyncssh.public_key import SSHOpenSSHCertificate

from ingest.clock import Now
from ingest.door.handshake import Handshake
from ingest.door.login import Accesses, certificate_opens, key_opens
from ingest.door.occupancy import Occupancy
from ingest.door.open_files import Published
from ingest.door.penalties import Misdeed
from ingest.door.readme import banner_text
from ingest.door.session import SftpChannel, SftpSession
from ingest.door.upload import Progress, UploadsInProgress
from ingest.door.view import DropView
from ingest.ledger.ssh_keys import Access
from ingest.settings import DoorSettings
from ingest.spool import Spool, is_allowed_name

_MAX_SESSIONS = 4
_NEARLY_ALL = 0.9  # of the time for a login
_REFUSALS_FOR_EACH_KEY = 2
_CHECKS_FOR_EACH_KEY = 2  # clients ask whether a key would do, and then sign with it

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Opens = Callable[[Access | None], bool]
"""Whether the key or certificate of a login opens an account to which there is this access."""


class DoorConnection(asyncssh.SSHServer):
    """What the library asks about one connection; a `ingest.door.handshake.Judge`."""

    def __init__(
        self,
        settings: DoorSettings,
        spool: Spool,
        occupancy: Occupancy,
        uploads: UploadsInProgress,
        *,
        accesses: Accesses,
        published: Published,
        now: Now,
    ) -> None:
        self._settings = settings
        self._spool = spool
        self._occupancy = occupancy
        self._uploads = uploads
        self._accesses = accesses
        self._published = published
        self._now = now
        self._connection: SSHServerConnection
        self._address = ""
        self._claimed: str | None = None  # the name that the client says it is
        self._account: str | None = None  # the name that a key was accepted for
        self._opens: Opens = _nothing_opens
        self._checks = 0
        self._wrong_keys = 0
        self._refusals = 0
        self._sessions = 0
        self._began = 0.0
        self._last_request = 0.0
        self._progress = Progress()
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # --- coming and going

    def connection_made(self, conn: SSHServerConnection) -> None:
        """Refuse a connection too many, before anything is computed for it."""
        self._connection = conn
        self._began = asyncio.get_running_loop().time()
        self._address = str((conn.get_extra_info("peername") or ("",))[0])
        socket = conn.get_extra_info("socket")
        descriptor = socket.fileno() if socket is not None else 0
        limit = "closing" if self._uploads.closed else self._occupancy.enter(conn, self._address, descriptor)
        if limit is not None:
            self._log_refused(limit)
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over; one without a login is held against its source."""
        del exc
        for timer in self._timers.values():
            timer.cancel()
        if self._occupancy.leave(self._connection, self._misdeed()):
            log.warning("a source is shut out", action="door_penalty", source=self._address)

    def _misdeed(self) -> Misdeed:
        if self._checks or self._refusals > 1:  # one is that of a client that asks which methods there are
            return Misdeed.WRONG_KEY
        spent_s = asyncio.get_running_loop().time() - self._began
        # the library's timer has begun a moment before; and who leaves just before it ends is no better
        was_silent = spent_s >= _NEARLY_ALL * self._settings.login_timeout_s
        return Misdeed.LOGIN_TIMEOUT if was_silent else Misdeed.NO_LOGIN

    # --- logging in

    def begin_auth(self, username: str) -> bool:
        """A login is always needed; changing the name half way ends the connection (FAULTS.md S8)."""
        if self._claimed is not None and self._claimed != username:
            raise asyncssh.ProtocolError("The user name may not change during a login")
        if cast("Handshake", self._connection).is_open_to_terrapin():
            raise asyncssh.ProtocolError("chacha20-poly1305 needs strict key exchange: update the client, or use AES")
        self._claimed = username
        if self._settings.banner:
            self._connection.send_auth_banner(banner_text(self._settings))
        return True

    def public_key_auth_supported(self) -> bool:
        """The only method."""
        return True

    def trying(self) -> None:
        """Count a try; the tries end when none of them was a login."""
        self._checks += 1
        if self._checks > _CHECKS_FOR_EACH_KEY * self._settings.max_auth_attempts:
            raise self._too_many()

    def refused(self) -> None:
        """Count a wrong key; a connection that has tried too many is ended."""
        self._wrong_keys += 1
        if self._wrong_keys >= self._settings.max_auth_attempts:
            raise self._too_many()

    def answered(self) -> None:
        """Count a refusal; clients ask for nothing first, and some for a password, and then try keys."""
        self._refusals += 1
        if self._refusals > _REFUSALS_FOR_EACH_KEY * self._settings.max_auth_attempts:
            raise self._too_many()

    async def validate_public_key(self, username: str, key: SSHKey) -> bool:
        """Whether the key is one of the account's, from this address, now."""

        def opens(access: Access | None) -> bool:
            return key_opens(access, key, self._address, self._now())

        return self._decide(username, opens, await self._access(username))

    async def validate_certificate(self, username: str, certificate: SSHOpenSSHCertificate) -> bool:
        """Whether one of the account's authorities has signed the certificate for it."""

        def opens(access: Access | None) -> bool:
            return certificate_opens(access, username, certificate, self._address, self._now())

        return self._decide(username, opens, await self._access(username))

    def _decide(self, username: str, opens: Opens, access: Access | None) -> bool:
        if not opens(access):
            return False
        self._account, self._opens = username, opens
        return True

    async def _access(self, username: str) -> Access | None:
        if not is_allowed_name(username):  # it becomes the name of a folder
            return None
        try:
            return (await self._accesses([username])).get(username)
        except Exception:
            log.exception("a login could not be checked", action="door_login_failed", source=self._address)
            raise asyncssh.ServiceNotAvailable("Logins cannot be checked now; try again in a few minutes") from None

    def _too_many(self) -> asyncssh.DisconnectError:
        self._log_refused("max_auth_attempts")
        return asyncssh.DisconnectError(
            asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, "Too many authentication failures"
        )

    def auth_completed(self) -> None:
        """Logged in: from now on the time without a request counts."""
        account = cast("str", self._account)  # a key was accepted, or the library would not be here
        if not self._occupancy.log_in(self._connection, account):
            self._log_refused("max_connections_per_account")
            self._connection.disconnect(
                asyncssh.DISC_TOO_MANY_CONNECTIONS,
                f"{self._settings.max_connections_per_account} connections of this account are open; close one first",
            )
            return
        log.info("an account logged in", action="door_login", account=account, source=self._address)
        self.touch()
        self._watch_idle()
        self._watch_stall(self._progress.received)

    def end_unless_open(self, access: Access | None) -> None:
        """End the connection when what it has logged in with opens the account no more; uploads stay unfinished."""
        if not self._opens(access):
            self._end(
                "access_ended",
                "This account, or the key that you have logged in with, may not be used any more. Ask the operator of "
                "this server",
                code=asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE,  # libraries take the other one for a friendly end
            )

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
                settings=self._settings,
                progress=self._progress,
                published=self._published,
            ),
            account=account,
            max_handles=self._settings.max_handles,
            on_request=self.touch,
            on_end=self._session_ended,
        )
        return SftpChannel(self._connection), session

    def _session_ended(self) -> None:
        self._sessions -= 1

    # --- idle time, and uploads that hardly move

    def touch(self) -> None:
        """A request came or was answered."""
        self._last_request = asyncio.get_running_loop().time()

    def _watch_idle(self) -> None:
        """End the connection when its idle time is over, or look again when it could be."""
        loop = asyncio.get_running_loop()
        left_s = self._last_request + self._settings.idle_timeout_s - loop.time()
        if left_s > 0:
            self._timers["idle"] = loop.call_later(left_s, self._watch_idle)
            return
        self._end("idle_timeout_s", "No request for too long")

    def _watch_stall(self, received_before: int) -> None:
        """End the connection when its uploads have hardly grown since the last look (FAULTS.md S18)."""
        window_s = self._settings.stall_timeout_s
        grown = self._progress.received - received_before
        if self._progress.stalled(grown, self._settings.min_upload_bytes_per_s * window_s):
            self._end("stall_timeout_s", "The upload is too slow; continue it later from where it is")
            return
        self._timers["stall"] = asyncio.get_running_loop().call_later(
            window_s, self._watch_stall, self._progress.received
        )

    def _end(self, reason: str, text: str, *, code: int = asyncssh.DISC_BY_APPLICATION) -> None:
        self._log_refused(reason)
        self._connection.disconnect(code, text)

    def _log_refused(self, reason: str) -> None:
        log.info(
            "a connection was refused",
            action="door_refused",
            account=self._account,
            source=self._address,
            reason=reason,
        )


def _nothing_opens(_access: Access | None) -> bool:
    return False
