"""How requests are cut out of the bytes of a channel."""

from __future__ import annotations

import asyncio

import pytest
from asyncssh import SFTPBadMessage
from asyncssh.sftp import MAX_SFTP_PACKET_LEN
from hypothesis import given
from hypothesis import strategies as st

from ingest.door.frames import Frames


class Channel:
    """Counts how often it was told to hold its bytes back and to let them come again."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def frames(self, most_bytes: int = 1 << 20) -> Frames:
        return Frames(
            most_bytes=most_bytes,
            pause=lambda: self.told.append("pause"),
            resume=lambda: self.told.append("resume"),
        )


def framed(packet: bytes) -> bytes:
    return len(packet).to_bytes(4, "big") + packet


async def all_of(frames: Frames) -> list[bytes]:
    given_away = []
    while True:
        try:
            given_away.append(await frames.next())
        except EOFError:
            return given_away


@given(st.lists(st.binary(max_size=50), max_size=20), st.lists(st.integers(0, 60), max_size=40), st.integers(1, 200))
def test_packets_come_out_as_they_were_sent_however_their_bytes_are_cut(
    packets: list[bytes], cuts: list[int], most_bytes: int
) -> None:
    sent = b"".join(map(framed, packets))

    async def received() -> list[bytes]:
        channel = Channel()
        frames = channel.frames(most_bytes)
        reading = asyncio.create_task(all_of(frames))
        rest = sent
        for cut in cuts:
            frames.feed(rest[:cut])
            rest = rest[cut:]
            await asyncio.sleep(0)
        frames.feed(rest)
        frames.end()
        result = await reading
        assert channel.told == ["pause", "resume"] * (len(channel.told) // 2)
        return result

    assert asyncio.run(received()) == packets


async def test_bytes_are_held_back_while_too_many_wait() -> None:
    """FAULTS S18."""
    channel = Channel()
    frames = channel.frames(most_bytes=100)
    packet = framed(b"x" * 46)
    frames.feed(packet)
    assert channel.told == []
    frames.feed(packet)
    frames.feed(packet)
    assert channel.told == ["pause"]
    await frames.next()
    assert channel.told == ["pause"]
    await frames.next()
    assert channel.told == ["pause", "resume"]


async def test_packet_that_is_too_long_is_refused_before_it_has_come() -> None:
    """FAULTS S25."""
    frames = Channel().frames()
    frames.feed((MAX_SFTP_PACKET_LEN + 1).to_bytes(4, "big"))
    with pytest.raises(SFTPBadMessage):
        await frames.next()


async def test_what_has_come_whole_is_given_before_the_end_is_told() -> None:
    frames = Channel().frames()
    frames.feed(framed(b"whole") + b"\x00\x00\x00\x09half")
    frames.end(ConnectionResetError("gone"))
    frames.end()
    assert await frames.next() == b"whole"
    with pytest.raises(ConnectionResetError):
        await frames.next()
