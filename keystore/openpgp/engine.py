"""The one interface to both engines: a message is an iterator over its provisional plain text."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from keystore.errors import Unsupported
from keystore.openpgp import gnupg, native
from keystore.openpgp.envelope import Envelope, Pkesk, read_envelope
from keystore.openpgp.facts import EngineName, Facts
from keystore.openpgp.limits import Limits, Meter
from keystore.openpgp.session_key import CannotNatively

if TYPE_CHECKING:
    from keystore.pgp_pair import Pair
    from keystore.pgp_signer import Signer


class Message(Facts):
    """One encrypted message; iterate once, from one thread, and close it in the same thread.

    What the iterator yields (blocks of about a megabyte) is PROVISIONAL until it ends normally: only then was the
    integrity proven (RFC 9580 §5.13.1). Otherwise it raises one leaf of `KeystoreError`. The facts are complete when
    it has ended. Nothing is read before the first ``next()``, so all errors come from iterating.
    """

    def __init__(
        self,
        source: BinaryIO,
        pairs: Sequence[Pair],
        *,
        limits: Limits,
        engine: EngineName,
        signers: Sequence[Signer],
        now: datetime,
    ) -> None:
        super().__init__()
        self._source, self._pairs, self._limits, self._engine = source, pairs, limits, engine
        self._signers, self._now = signers, now
        self._blocks = self._run()

    def __iter__(self) -> Iterator[bytes]:
        return self._blocks

    def close(self) -> None:
        """Stop early and free everything (processes, threads, private folders); does not close the source."""
        self._blocks.close()

    def _run(self) -> Generator[bytes, None, None]:
        start = self._source.tell() if self._source.seekable() else None
        if self._engine != "gnupg":
            try:
                yield from self._native()
            except CannotNatively as unable:
                if self._engine == "native" or start is None or not gnupg.is_installed():
                    raise Unsupported(
                        f"The message uses {unable}, which this installation cannot read. Encrypt it with AES for an "
                        "RSA or Curve25519 key.",
                        detail="with gpg installed, GnuPG would be tried for this message",
                    ) from None
            else:
                return
            self._source.seek(start)
        yield from self._gnupg(start)

    def _native(self) -> Iterator[bytes]:
        self.engine = "native"
        meter = Meter(self._limits)
        envelope = read_envelope(self._source, self._limits, meter)
        self.recipients = envelope.recipients
        yield from native.plain_blocks(envelope, self._pairs, self._reading(meter))

    def _gnupg(self, start: int | None) -> Iterator[bytes]:
        """Try each pair that a recipient may be; a hidden recipient may take several turns (FAULTS.md P17)."""
        self.engine = "gnupg"
        self.cipher = self.integrity = self.compression = ""
        meter = Meter(self._limits)
        turn = 0
        while True:
            envelope = read_envelope(self._source, self._limits, meter)
            self.recipients = envelope.recipients
            tries = _for_gnupg(envelope, native.candidates(envelope, self._pairs))
            pairs = list(dict.fromkeys(pair for _, pair in tries))
            wanted = tuple(dict.fromkeys(pkesk for pkesk, pair in tries if pair is pairs[turn]))
            last = turn + 1 == len(pairs) or start is None
            try:
                yield from gnupg.plain_blocks(envelope, wanted, pairs[turn], self._reading(meter))
            except gnupg.NotThisKey as failure:
                if last:
                    raise failure.final from None
            else:
                return
            turn += 1
            if start is not None:
                self._source.seek(start)

    def _reading(self, meter: Meter) -> native.Reading:
        return native.Reading(self, self._limits, meter, self._signers, self._now)


def _for_gnupg(envelope: Envelope, tries: list[tuple[Pkesk, Pair]]) -> list[tuple[Pkesk, Pair]]:
    """Those that GnuPG 2.2 could open; raises `Unsupported` when there are none."""
    if envelope.head is not None:
        raise Unsupported("The message uses version 2 of the SEIPD packet, which GnuPG cannot read.")
    readable = [(pkesk, pair) for pkesk, pair in tries if pair.gnupg_reads and pkesk.algorithm in gnupg.ALGORITHMS]
    if not readable:
        raise Unsupported("The message is encrypted to a kind of key that GnuPG cannot read.")
    return readable


def decrypt(
    source: BinaryIO,
    pairs: Sequence[Pair],
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    engine: EngineName = "auto",
    signers: Sequence[Signer] = (),
    now: datetime | None = None,
) -> Message:
    """A message over ``source``, from its current position to its end.

    Of ``pairs`` those that the message's recipients name open it, whatever their order; those that it cannot mean are
    not unlocked. The order counts for hidden recipients.

    ``auto`` reads natively; what the native engine cannot read (a rare cipher or key algorithm) goes to gpg when that
    is installed and ``source`` can seek. Signatures count when one of ``signers`` made them, and what they are worth
    is judged by the policy of the pair that opens the message (`Pair.signatures`), at ``now``, which is aware
    (default: the time of this call). This call itself reads nothing and raises nothing; see `Message`.
    """
    return Message(source, pairs, limits=limits, engine=engine, signers=signers, now=now or datetime.now(UTC))
