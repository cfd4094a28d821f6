"""The library's dump of every packet into the log, left out."""

from __future__ import annotations


class Quiet:
    """Dumps no packets into the log, at no level; even deciding not to costs more than the cipher does."""

    def _log_packet(self, *_packet: object) -> None:
        pass
