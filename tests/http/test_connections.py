"""What a public port gets to see: over bare sockets (FAULTS.md H11)."""

from __future__ import annotations

import asyncio

import pytest

from tests.http.conftest import WAIT_S, OpenSite, Site, code_of, json_in
from tests.http.test_bodies import answered, request


@pytest.mark.parametrize(
    "headers",
    [
        (b"Content-Length: 4", b"Transfer-Encoding: chunked"),
        (b"Transfer-Encoding: chunked", b"Content-Length: 4"),
        (b"Content-Length: 4", b"transfer-encoding:\tchunked"),
    ],
)
async def test_length_and_chunks_together_are_refused_and_end_the_connection(
    open_site: OpenSite, headers: tuple[bytes, ...]
) -> None:
    """FAULTS H11: CL.TE and TE.CL; nothing that follows is taken for a request."""
    async with open_site(plain=True) as site:
        smuggled = b"0\r\n\r\n" + request(site.credential(), b"Content-Length: 0", path=b"/1/profile.json")
        answer = await site.raw(request(site.credential(), *headers) + smuggled)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert json_in(answer)["code"] == "http.framing"
        assert answer.count(b"HTTP/1.1 ") == 1


AMBIGUOUS: list[tuple[bytes, ...]] = [
    (b"Content-Length: 4", b"Content-Length: 5"),
    (b"Content-Length: 4, 5",),
    (b"Content-Length: +4",),
    (b"Content-Length: 0x4",),
    (b"Content-Length: -1",),
    (b"Content-Length : 4",),
    (b"Transfer-Encoding: chunked, identity",),
    (b"Transfer-Encoding: xchunked",),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    (b"Transfer-Encoding : chunked",),
    (b"Host: second",),
    (b"X: a\x00b",),
    (b"X: a\rb",),
    (b"No colon",),
]
BROKEN_CHUNKS = [b"4\r\nabcdXX0\r\n\r\n", b"-4\r\nabcd\r\n0\r\n\r\n", b"4 \nabcd\r\n0\r\n\r\n", b"zz\r\n"]


async def test_framing_that_can_be_read_in_two_ways_is_no_request(open_site: OpenSite) -> None:
    """FAULTS H11."""
    async with open_site(plain=True) as site:
        passcode = site.credential()
        for headers in AMBIGUOUS:
            answer = await site.raw(request(passcode, *headers) + b"0\r\n\r\n")
            assert int(answer.split(b" ", 2)[1]) in (400, 501), headers
            assert json_in(answer)["code"] == "http.malformed"
            assert b"connection: close" in answer.lower()
            assert b"uvicorn" not in answer


async def test_broken_chunk_stores_nothing_and_ends_the_connection(open_site: OpenSite) -> None:
    """FAULTS H11."""
    async with open_site(plain=True) as site:
        passcode = site.credential()
        for chunk in BROKEN_CHUNKS:
            answer = await site.raw(request(passcode, b"Transfer-Encoding: chunked"), chunk)
            assert b" 200 " not in answer, chunk


async def test_headers_are_bounded_in_size(open_site: OpenSite) -> None:
    """FAULTS H11: one huge header, many small ones, a long target, and one that never ends."""
    async with open_site(plain=True, max_header_bytes=16_384) as site:
        passcode = site.credential()
        for head in (
            request(passcode, b"X: " + b"x" * 20_000),
            request(passcode, *[b"X%d: y" % number for number in range(3000)]),
            request(passcode, path=b"/1/upload?" + b"x" * 20_000),
        ):
            assert (await answered(site, head))[0] == 431


async def test_header_that_never_ends_is_cut_off(open_site: OpenSite) -> None:
    """FAULTS H11: the answer may get lost, since the client is still sending."""
    async with open_site(plain=True) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            writer.write(b"x" * 1000)
            await asyncio.sleep(0.001)
        assert (await ended(reading)).split(b"\r\n")[0] in (b"", b"HTTP/1.1 431 Request Header Fields Too Large")
        writer.close()


async def test_slow_headers_and_silence_are_given_up(open_site: OpenSite) -> None:
    """FAULTS H11: a byte now and then does not keep a connection."""
    async with open_site(plain=True, header_timeout_s=0.5) as site:
        assert await site.raw() == b""
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(b"GET / HTTP/1.1\r\n")
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            writer.write(b"X: y\r\n")
            await asyncio.sleep(0.02)
        assert await ended(reading) == b""
        writer.close()


async def ended(reading: asyncio.Task[bytes]) -> bytes:
    """What came until the server hung up, however it did."""
    try:
        return await reading
    except ConnectionError:
        return b""


async def test_rest_of_a_body_that_was_refused_does_not_keep_the_connection(open_site: OpenSite) -> None:
    """FAULTS H11: the answer is out; who goes on sending is cut off."""
    async with open_site(plain=True, header_timeout_s=0.5) as site:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        writer.write(request("wrong", b"Content-Length: 1000000"))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 401 ")
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            writer.write(b"x")
            await asyncio.sleep(0.02)
        await ended(reading)
        writer.close()


async def test_idle_connection_ends(open_site: OpenSite) -> None:
    """FAULTS H11."""
    async with open_site(plain=True, idle_timeout_s=1) as site:
        answer = await site.raw(request(site.credential(), b"Content-Length: 0"))
        assert answer.startswith(b"HTTP/1.1 200 ")


async def test_http_1_0_is_answered_and_hung_up(open_site: OpenSite) -> None:
    """FAULTS H11."""
    async with open_site(plain=True) as site:
        login = b"X-Account-Id: acme\r\nX-Passcode: %s\r\n" % site.credential().encode()
        answer = await site.raw(b"POST /1/upload HTTP/1.0\r\n" + login + b"Content-Length: 2\r\n\r\n{}")
        assert answer.startswith(b"HTTP/1.1 200 ")
        chunked = b"POST /1/upload HTTP/1.0\r\n" + login + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        assert await answered(site, chunked) == (400, "http.framing")


async def test_pipelined_requests_are_answered_in_their_order(open_site: OpenSite) -> None:
    """FAULTS H11."""
    async with open_site(plain=True) as site:
        passcode = site.credential()
        bodies = [b'{"n": %d}' % number for number in range(5)]
        sent = b"".join(request(passcode, b"Content-Length: %d" % len(one)) + one for one in bodies)
        answer = await site.raw(sent + request("wrong", b"Connection: close"))
        assert answer.count(b"HTTP/1.1 200 ") == 5
        places = [answer.index(b'{\\"n\\": %d}' % number) for number in range(5)]
        assert places == sorted(places)


async def test_unknown_expectation_is_refused(open_site: OpenSite) -> None:
    """FAULTS H11."""
    async with open_site(plain=True) as site:
        head = request(site.credential(), b"Expect: 200-ok", b"Content-Length: 2")
        assert await answered(site, head, b"{}") == (417, "http.expectation")


async def test_upgrade_to_another_protocol_is_not_made(open_site: OpenSite) -> None:
    """FAULTS H11: neither WebSocket nor HTTP/2 without TLS."""
    async with open_site(plain=True) as site:
        for protocol in (b"websocket", b"h2c"):
            upgrade = (b"Upgrade: " + protocol, b"Connection: Upgrade, close", b"Content-Length: 0")
            assert (await site.raw(request(site.credential(), *upgrade))).startswith(b"HTTP/1.1 200 ")
        assert b" 101 " not in await site.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


async def test_paths_and_methods_that_there_are_not(open_site: OpenSite) -> None:
    async with open_site(plain=True) as site, site.client(site.credential()) as client:
        for path in ("/", "/1/upload/", "/1/nothing", "/admin", "/1/../1/keys"):
            assert (await client.get(path)).status_code == 404
        for method in ("DELETE", "OPTIONS", "TRACE", "HEAD"):
            wrong = await client.request(method, "/1/upload")
            assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


async def test_path_of_the_table_without_an_endpoint_is_a_failure_of_the_one_shape(open_site: OpenSite) -> None:
    async with open_site(plain=True, routes=()) as site, site.client(site.credential()) as client:
        answer = await client.post("/1/upload")
        assert code_of(answer) == (404, "http.path")


async def test_connections_are_bounded_for_all_and_for_each_source(open_site: OpenSite) -> None:
    """FAULTS H11: those that are idle take the place of no more than so many."""
    limits = {"max_connections": 8, "max_connections_per_source": 5}
    async with open_site(plain=True, exempt_sources="", **limits) as site:
        assert await held(site, 10) == 5
    async with open_site(plain=True, **limits) as site:
        assert await held(site, 10) == 8


async def held(site: Site, count: int) -> int:
    """How many of so many connections at once are answered; then all are over, and there is room again."""
    head = request(site.credential(), b"Content-Length: 0")
    opened = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(count)]
    for _, writer in opened:
        writer.write(head)
    answers = await asyncio.gather(*[first_line(reader) for reader, _ in opened])
    for _, writer in opened:
        writer.close()
    async with asyncio.timeout(WAIT_S):
        while not (await site.raw(request("wrong", b"Connection: close"))).startswith(b"HTTP/1.1 401 "):  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # the server may not have seen yet that they are gone
    return sum(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)


async def first_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ConnectionError:
        return b""


async def test_answers_carry_headers_that_keep_browsers_off(open_site: OpenSite) -> None:
    async with open_site(plain=True) as site, site.client() as client:
        for answer in (await client.get("/.well-known/jwks.json"), await client.get("/nothing")):
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["cache-control"] == "no-store"
            assert "server" not in answer.headers
            assert "strict-transport-security" not in answer.headers
            assert len(answer.headers["x-request-id"]) == 16
