"""The fields of one small packet, read from its whole body (RFC 9580 §3)."""

from __future__ import annotations

from keystore.openpgp.packets import EndedEarly, FramingError


class Reader:
    """Fields of a packet, one after the other. All of them raise `EndedEarly`, a `FramingError`, at its end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def take(self, count: int) -> bytes:
        """So many octets."""
        piece = self._data[self.at : self.at + count]
        if len(piece) < count:
            raise EndedEarly("a field is cut")
        self.at += count
        return piece

    def number(self, octets: int) -> int:
        """An unsigned number, big endian."""
        return int.from_bytes(self.take(octets))

    def mpi(self, version: int) -> bytes:
        """A multiprecision integer of a key or signature of this version (RFC 9580 §3.2).

        Raises `FramingError` when its length in bits is wrong, which version 6 alone forbids: older programs were less
        exact.
        """
        bits = self.number(2)
        octets = self.take((bits + 7) // 8)
        if version == 6 and int.from_bytes(octets).bit_length() != bits:
            raise FramingError("a number has another length than it says")
        return octets

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self.at)
