"""The native engine: session key, bulk data and packets inside, without gpg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from keystore.errors import Corrupt, WrongKey
from keystore.openpgp import packets
from keystore.openpgp.envelope import ANONYMOUS, Envelope, Pkesk
from keystore.openpgp.packets import Feed, FramingError
from keystore.openpgp.session_key import BadSessionKey, CannotNatively, SessionKey
from keystore.openpgp.stream import literal_data, opened_mdc, opened_ocb

if TYPE_CHECKING:
    from keystore.openpgp.facts import Facts
    from keystore.openpgp.limits import Limits, Meter
    from keystore.pgp_keys import PrivateKey


def candidates(envelope: Envelope, keys: Sequence[PrivateKey]) -> list[tuple[Pkesk, PrivateKey]]:
    """Which recipient each key may be: those that name one of its (sub)keys first, then the hidden ones.

    Raises `WrongKey` when no recipient can be one of ``keys`` (FAULTS.md P16, P17).
    """
    named = [(pkesk, key) for pkesk in envelope.pkesks for key in keys if pkesk.key_id in key.openpgp_key_ids]
    hidden = [(pkesk, key) for pkesk in envelope.pkesks if pkesk.key_id == ANONYMOUS for key in keys]
    if not named and not hidden:
        ours = ", ".join(f"{key.fingerprint} (keyId {key.key_id})" for key in keys) or "none"
        raise WrongKey(
            f"The file is encrypted to OpenPGP key {', '.join(envelope.recipients)}, which is not the key that the "
            f"manifest names. Encrypt it to our key: {ours}."
        )
    return named + hidden


def plain_blocks(
    envelope: Envelope, keys: Sequence[PrivateKey], facts: Facts, limits: Limits, meter: Meter
) -> Iterator[bytes]:
    """The provisional plain text.

    Raises `CannotNatively` before the first block, `WrongKey`, `Truncated`, `ArmorInvalid`, `PlainTextTooLarge`,
    `EngineFailed`, and `Corrupt` for all that only a decryption could tell.
    """
    try:
        session, key = _session_key(candidates(envelope, keys))
        facts.key_id = key.key_id
        facts.cipher = session.cipher_name
        if envelope.tag == packets.SEIPD:
            facts.integrity = "mdc"
            opened = opened_mdc(envelope.data, session)
        else:
            facts.integrity = "aead"
            opened = opened_ocb(envelope.data, session)
        for block in literal_data(Feed(opened), facts, limits, meter):
            facts.bytes_plain += len(block)
            meter.made(facts.bytes_plain)
            yield bytes(block)
    except (FramingError, BadSessionKey) as error:
        # a cut or trailing outermost packet is a public fact and goes first: read on to its end
        for _ in envelope.data.rest():
            pass
        raise Corrupt(detail=str(error)) from None


def _session_key(pairs: list[tuple[Pkesk, PrivateKey]]) -> tuple[SessionKey, PrivateKey]:
    """The first session key that opens; raises `BadSessionKey`, or `CannotNatively` when GnuPG might open one."""
    unable: CannotNatively | None = None
    failure = BadSessionKey("no key of ours opens a hidden recipient's session key")
    for pkesk, key in pairs:
        own = key.decryption_keys
        tried = own.values() if pkesk.key_id == ANONYMOUS else [own[pkesk.key_id]] if pkesk.key_id in own else []
        if not tried:
            unable = CannotNatively(f"public-key algorithm {pkesk.algorithm}")
        for private in tried:
            if pkesk.algorithm not in private.algorithms:
                continue
            try:
                return private.open(pkesk.fields), key
            except BadSessionKey as error:
                failure = error
            except CannotNatively as error:
                unable = error
    raise unable or failure
