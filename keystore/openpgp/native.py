"""The native engine: session key, bulk data and packets inside, without gpg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from keystore.errors import Corrupt, Unsupported, WrongKey
from keystore.openpgp import packets
from keystore.openpgp.aead import opened_ocb, opened_seipd2
from keystore.openpgp.envelope import ANONYMOUS, Envelope, Pkesk
from keystore.openpgp.mdc import opened_mdc
from keystore.openpgp.packets import Block, Feed, FramingError
from keystore.openpgp.session_key import LEGACY_CIPHERS, BadSessionKey, CannotNatively, SessionKey
from keystore.openpgp.signed import Signatures, Signing
from keystore.openpgp.stream import Inside, literal_data

if TYPE_CHECKING:
    from keystore.openpgp.facts import Facts
    from keystore.openpgp.limits import Limits, Meter
    from keystore.pgp_pair import Pair
    from keystore.pgp_signer import Signer

_MOST_NAMED = 3  # pairs in a text for the sender


def candidates(envelope: Envelope, pairs: Sequence[Pair]) -> list[tuple[Pkesk, Pair]]:
    """Which recipient each pair may be, in the order of ``pairs``: those that a recipient names, then for hidden ones.

    The message decides, not the order. Pairs that no longer open files are left out, unless there are no others, or the
    first is one and all recipients are hidden: then unlocking it says why. Raises `WrongKey` when no recipient can be
    one of ``pairs`` (FAULTS.md P16, P17, P19).
    """
    named = [(pkesk, pair) for pair in pairs for pkesk in envelope.pkesks if pkesk.key_id in pair.openpgp_key_ids]
    hidden = [(pkesk, pair) for pair in pairs for pkesk in envelope.pkesks if pkesk.key_id == ANONYMOUS]
    if not named and not hidden:
        raise WrongKey(
            f"The file is encrypted to OpenPGP key {', '.join(envelope.recipients)}, which is no key that is stored "
            f"for this account. Encrypt it to our key: {_ours(pairs)}."
        )
    if not named and not pairs[0].opens_files:
        return hidden[:1]
    return [(pkesk, pair) for pkesk, pair in named + hidden if pair.opens_files] or named


def _ours(pairs: Sequence[Pair]) -> str:
    usable = [f"{pair.fingerprint} (keyId {pair.key_id})" for pair in pairs if pair.opens_files]
    return ", or ".join(usable[:_MOST_NAMED]) or "there is none yet"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one message is read with; ``facts`` is filled in."""

    facts: Facts
    limits: Limits
    meter: Meter
    signers: Sequence[Signer]
    now: datetime

    def inside(self, key: Pair) -> Inside:
        """For the packets inside, when ``key`` has opened the message: its policy of signatures holds."""
        signing = Signing(key.signatures, self.signers, key.fingerprint, self.now)
        return Inside(self.facts, Signatures(signing), self.limits, self.meter)


def plain_blocks(envelope: Envelope, pairs: Sequence[Pair], reading: Reading) -> Iterator[bytes]:
    """The provisional plain text.

    Raises `CannotNatively` before the first block, `WrongKey`, `KeyRetired`, `Truncated`, `ArmorInvalid`,
    `PlainTextTooLarge`, `EngineFailed`, `Unsupported` for a legacy cipher, `Corrupt` for all that only a decryption
    could tell, and `SignatureRequired` after all else was well.
    """
    facts, limits = reading.facts, reading.limits
    try:
        session, key = _session_key(candidates(envelope, pairs), envelope)
        if session.cipher in LEGACY_CIPHERS and not limits.legacy_ciphers:
            raise legacy_refusal(session.cipher_name)
        facts.key_id, facts.pair = key.key_id, key.fingerprint
        facts.cipher = session.cipher_name
        facts.integrity = "mdc" if envelope.tag == packets.SEIPD and envelope.head is None else "aead"
        inside = reading.inside(key)
        for block in literal_data(Feed(_opened(envelope, session)), inside):
            facts.bytes_plain += len(block)
            reading.meter.made(facts.bytes_plain)
            yield bytes(block)
    except (FramingError, BadSessionKey) as error:
        # a cut or trailing outermost packet is a public fact and goes first: read on to its end
        for _ in envelope.data.rest():
            pass
        raise Corrupt(detail=str(error)) from None
    inside.signatures.settle(facts)


def legacy_refusal(cipher_name: str) -> Unsupported:
    """What to raise for a cipher with blocks of 64 bits, unless the limits allow them (FAULTS.md P23)."""
    return Unsupported(
        f"The message uses {cipher_name}, an old cipher that is not accepted here. Encrypt it with AES.",
        detail="legacy ciphers are not allowed",
    )


def _opened(envelope: Envelope, session: SessionKey) -> Iterator[Block]:
    if envelope.head is not None:
        return opened_seipd2(envelope.data, envelope.head, session)
    return (opened_mdc if envelope.tag == packets.SEIPD else opened_ocb)(envelope.data, session)


def _session_key(tries: list[tuple[Pkesk, Pair]], envelope: Envelope) -> tuple[SessionKey, Pair]:
    """The first session key that opens; raises `BadSessionKey`, or `CannotNatively` when GnuPG might open one.

    A pair is unlocked when its turn comes, and for a hidden recipient only when it has a key of that algorithm.
    """
    cipher = None if envelope.head is None else envelope.head.cipher
    unable: CannotNatively | None = None
    failure = BadSessionKey("no key of ours opens a hidden recipient's session key")
    for pkesk, pair in tries:
        hidden = pkesk.key_id == ANONYMOUS
        if hidden and pair.opens_files and pkesk.algorithm not in pair.algorithms:
            continue
        own = pair.unlocked().decryption_keys
        tried = own.values() if hidden else [own[pkesk.key_id]] if pkesk.key_id in own else []
        if not tried:
            unable = CannotNatively(f"public-key algorithm {pkesk.algorithm}")
        for private in tried:
            if pkesk.algorithm not in private.algorithms:
                continue
            try:
                return private.open(pkesk.fields, cipher), pair
            except BadSessionKey as error:
                failure = error
            except CannotNatively as error:
                unable = error
    raise unable or failure
