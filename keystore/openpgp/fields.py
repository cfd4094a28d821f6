"""The fields of one small packet, read from its whole body (RFC 9580 §3)."""

from __future__ import annotations

from keystore.openpgp.packets import EndedEarly


class Reader:
    """Fields of a packet, one after the other. All of them raise `EndedEarly` at its end."""

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

    def mpi(self) -> bytes:
        """A multiprecision integer (RFC 9580 §3.2)."""
        return self.take((self.number(2) + 7) // 8)

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._data) - self.at)
