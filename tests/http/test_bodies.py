"""Bodies at the edge of what may be sent, over bare sockets."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator

from tests.http.conftest import OpenSite, Site, code_of, json_in, until

LIMIT = 100_000


def request(passcode: str, *headers: bytes, path: bytes = b"/1/upload") -> bytes:
    """The head of an upload."""
    login = b"X-Account-Id: acme\r\nX-Passcode: %s\r\n" % passcode.encode()
    return b"POST %s HTTP/1.1\r\nHost: x\r\n%s%s\r\n" % (path, login, b"".join(one + b"\r\n" for one in headers))


async def answered(site: Site, *parts: bytes) -> tuple[int, str]:
    """Status and code of the first answer to these bytes."""
    status, answer = await site.first(*parts)
    return status, answer["code"]


async def test_announced_body_over_the_limit_is_refused_before_it_comes(open_site: OpenSite) -> None:
    """FAULTS H2: Content-Length, in the thousands of digits as well."""
    async with open_site(plain=True, max_body_bytes=LIMIT) as site:
        for length in (b"%d" % (LIMIT + 1), b"9" * 19):
            head = request(site.credential(), b"Content-Length: " + length)
            assert await answered(site, head) == (413, "body.too_large")


async def test_chunks_over_the_limit_are_refused_at_the_first_byte_over(open_site: OpenSite) -> None:
    """FAULTS H2: chunked, which announces nothing."""
    async with open_site(plain=True, max_body_bytes=LIMIT) as site:
        head = request(site.credential(), b"Transfer-Encoding: chunked")
        chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
        assert await answered(site, head, *[chunk] * 11) == (413, "body.too_large")


async def test_body_at_the_limit_is_taken(open_site: OpenSite) -> None:
    async with open_site(plain=True, max_body_bytes=LIMIT) as site, site.client(site.credential()) as client:
        assert (await client.post("/1/upload", content=b"x" * LIMIT)).status_code == 200

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"x" * (LIMIT // 10)

        assert len((await client.post("/1/upload", content=chunks())).json()["body"]) == LIMIT
        assert code_of(await client.post("/1/upload", content=b"x" * (LIMIT + 1))) == (413, "body.too_large")


async def test_length_that_lies_takes_nothing_from_the_next_request(open_site: OpenSite) -> None:
    """FAULTS H2: less than announced is a request that never ends; what is more than announced is no body."""
    async with open_site(plain=True, body_timeout_s=0.3) as site:
        passcode = site.credential()
        assert await answered(site, request(passcode, b"Content-Length: 10"), b"short") == (408, "body.too_slow")
        more = await site.raw(request(passcode, b"Content-Length: 2"), b"{}GARBAGE\r\n\r\n")
        assert more.startswith(b"HTTP/1.1 200 ")
        assert more.count(b"HTTP/1.1 ") == 2
        assert json_in(more)["code"] == "http.malformed"


async def test_slow_body_is_given_up(open_site: OpenSite) -> None:
    """FAULTS H2."""
    async with open_site(plain=True, body_timeout_s=0.5) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(request(site.credential(), b"Content-Length: 1000"))
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            writer.write(b"x")  # never silent for long, and never done
            await asyncio.sleep(0.02)
        assert json_in(await reading)["code"] == "body.too_slow"
        writer.close()


async def test_compressed_body_is_refused_unread(open_site: OpenSite) -> None:
    """FAULTS H2."""
    async with open_site(plain=True) as site, site.client(site.credential()) as client:
        for encoding in ("gzip", "deflate", "br", "gzip, identity", "x"):
            headers = {"Content-Encoding": encoding}
            answer = await client.post("/1/upload", content=gzip.compress(b"{}"), headers=headers)
            assert code_of(answer) == (415, "body.encoding")


async def test_nothing_is_read_before_the_login(open_site: OpenSite) -> None:
    """FAULTS H2, H5: whoever is not let in is told so at once, and is not asked to go on."""
    async with open_site(plain=True) as site:
        head = request("wrong", b"Content-Length: 1000000", b"Expect: 100-continue")
        answer = await site.raw(head)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"\r\nconnection: close\r\n" in answer.lower()
        good = request(site.credential(), b"Content-Length: 2", b"Expect: 100-continue", b"Connection: close")
        answer = await site.raw(good, b"{}")
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")


async def test_bodies_of_all_together_are_bounded(open_site: OpenSite) -> None:
    """FAULTS H2: and the place is free again once they are done."""
    async with open_site(plain=True, max_buffered_bytes=150_000) as site, site.client(site.credential()) as client:
        waiting = asyncio.create_task(client.post("/1/events.json", content=b"x" * 100_000))
        await until(lambda: site.running == 1)
        busy = await client.post("/1/upload", content=b"x" * 100_000)
        assert code_of(busy) == (503, "busy")
        assert busy.headers["retry-after"]
        site.gate.set()
        assert (await waiting).status_code == 200
        assert (await client.post("/1/upload", content=b"x" * 100_000)).status_code == 200
