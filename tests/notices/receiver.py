"""A real HTTP server that receives webhooks, in a thread; it answers as it is told to."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.notices.relay import HOST


@dataclass
class Posted:
    """A request that came."""

    path: str
    headers: Message
    body: bytes


@dataclass
class Receiver:
    """``status`` is answered, with ``headers``; ``hang`` waits until the end, ``drip`` sends a header line again and
    again, ``endless`` a body that does not end.
    """

    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    how: str = ""
    port: int = 0
    posted: list[Posted] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers["Content-Length"])
        self.posted.append(Posted(handler.path, handler.headers, handler.rfile.read(length)))
        if self.how == "hang":
            self.over.wait()
            return
        if self.how == "garbage":
            handler.wfile.write(b"\x00\xff this is no HTTP\r\n\r\n")
            return
        handler.send_response(self.status)
        for name, value in self.headers.items():
            handler.send_header(name, value)
        while self.how == "drip" and not self.over.is_set():
            handler.send_header("X-Drip", "drop")
            handler.flush_headers()
            time.sleep(0.05)
        if self.how == "endless":
            handler.end_headers()
            while not self.over.is_set():
                handler.wfile.write(b"x" * 65536)
        handler.send_header("Content-Length", "0")
        handler.end_headers()


@contextlib.contextmanager
def receiving(tls: ssl.SSLContext | None = None, **facts: object) -> Iterator[Receiver]:
    """Serve; ``port`` is set."""
    receiver = Receiver(**facts)  # type: ignore[arg-type]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            with contextlib.suppress(OSError):  # the other side has enough
                receiver.answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # each is waited for at the end

        def handle_error(self, *_: object) -> None:
            pass  # a handshake that the client broke off is what some tests want

        def finish_request(self, request: Any, address: Any) -> None:
            if tls is None:
                super().finish_request(request, address)
                return
            with tls.wrap_socket(request, server_side=True) as wrapped:
                super().finish_request(wrapped, address)

    with Server((HOST, 0), Handler) as server:
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.over.set()
            server.shutdown()
            thread.join()
