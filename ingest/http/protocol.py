"""A connection: uvicorn's protocol on h11, with a time for headers, the client's certificate, and answers of ours.

h11 and not httptools: it bounds the size of headers, which uvicorn does not do for httptools, and it is strict and
written in Python. What it costs is small beside what a request of ours does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import cast

import h11
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import STATUS_PHRASES, H11Protocol, RequestResponseCycle
from uvicorn.server import ServerState

from ingest.http.problems import Problem


class ApiProtocol(H11Protocol):
    """One connection; ``on_lost`` is called when it is over."""

    def __init__(
        self, config: Config, state: ServerState, *, header_timeout_s: float, on_lost: Callable[[], None]
    ) -> None:
        super().__init__(config, state, app_state={})
        self._header_timeout_s = header_timeout_s
        self._on_lost = on_lost
        self._waiting: asyncio.TimerHandle | None = None
        self.is_made = False  # only then `on_lost` comes

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Look at who it is."""
        super().connection_made(transport)
        self.is_made = True
        ssl_object = transport.get_extra_info("ssl_object")
        certificate = None if ssl_object is None else ssl_object.getpeercert(binary_form=True)
        self.app_state["client_certificate"] = certificate  # each request's state begins as a copy of this
        self._wait_for_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it out."""
        self._no_longer_wait()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._on_lost()

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on with the next request."""
        super().on_response_complete()
        self._watch()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that is idle; at once when the client does not even take its last answer."""
        super().timeout_keep_alive_handler()
        if self.transport.get_write_buffer_size() > 0:
            self.transport.abort()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in our shape; h11 says which status fits. Called in the handler of its error."""
        del msg
        if self._is_answering():
            self.transport.abort()  # in the middle of a body: the endpoint notices
            return
        error = sys.exc_info()[1]
        status = error.error_status_hint if isinstance(error, h11.RemoteProtocolError) else 400
        body = Problem(status, "http.malformed", "This is no HTTP request that can be read here.").response()
        headers = [*body.raw_headers, (b"connection", b"close")]
        answer = h11.Response(status_code=status, headers=headers, reason=STATUS_PHRASES.get(status, b""))
        for event in (answer, h11.Data(data=bytes(body.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch(self) -> None:
        """Allow so much time from the first byte of a request to its last header, however slowly they come.

        The same for the rest of a body whose request has been answered already.
        """
        idle = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if self._is_answering() or idle:
            self._no_longer_wait()
        else:
            self._wait_for_headers()

    def _is_answering(self) -> bool:
        cycle = cast("RequestResponseCycle | None", self.cycle)  # none before the first request
        return cycle is not None and not cycle.response_complete

    def _wait_for_headers(self) -> None:
        if self._waiting is None:
            self._waiting = self.loop.call_later(self._header_timeout_s, self.transport.abort)

    def _no_longer_wait(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
