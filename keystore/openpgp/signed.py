"""The signatures around the one literal of a message: collected while it is read, judged when it has ended.

Both orders of RFC 9580 §10.3 are read: one-pass packets in front and their signatures behind, in reverse order
(RFC 9580 §5.4), and signatures in front. Compressed packets may stand in between; every signature is over the contents
of the literal. The contents are hashed only for signatures that name a registered signer, and never when the policy is
to ignore them.

Nothing here refuses a message: what is wrong with a signature is its state. Which of several counts: a good one, then
a bad one, an expired one, one that cannot be checked, one of an unknown signer; the earlier of two alike.

A signature with MD5, SHA-1 or RIPEMD-160 is "unchecked", not "bad": old programs make them and nothing shows that it
is forged, but it proves nothing either. The same holds for one that is over another signature and the data
(RFC 9580 §5.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from keystore.errors import SignatureRequired
from keystore.openpgp.document_hash import DocumentHash
from keystore.openpgp.facts import Facts, SignaturePolicy, SignatureState
from keystore.openpgp.packets import Block, FramingError
from keystore.openpgp.signature import BINARY, TEXT, OnePass, Signature, new_hash, read_one_pass, read_signature

if TYPE_CHECKING:
    from keystore.pgp_signer import Signer

LONGEST_PACKET = 1 << 14  # bytes of a signature packet that is read; one by RSA with 8192 bits has little over 1 KiB
MOST_SIGNATURES = 8  # that are read; any others are "unchecked"
_CLOCK_SKEW = timedelta(minutes=15)  # a sender's clock may be ahead of ours
_PRECEDENCE: tuple[SignatureState, ...] = ("good", "bad", "expired", "unchecked", "unknown_signer", "none")

_REQUIRED = (
    "Files for this key pair must carry a good signature by a signer who is registered for the account. Sign the file "
    "with a registered key when you encrypt it (gpg --sign --encrypt), or have your key registered."
)

_HashName = tuple[int, bytes, bool]  # hash ID, salt, whether line ends are made CRLF


class Verdict(NamedTuple):
    """The state of one signature, or of all, and whose it is (see `Facts.signer`)."""

    state: SignatureState
    signer: str = ""


@dataclass(frozen=True, slots=True)
class Signing:
    """What the signatures of a message are judged by."""

    policy: SignaturePolicy
    signers: Sequence[Signer]
    pair: str  # fingerprint of the pair that opened the message, upper hex
    now: datetime


@dataclass(frozen=True, slots=True)
class _Found:
    """A signature packet, and the one-pass packet that announced it."""

    signature: Signature
    one_pass: OnePass | None
    in_front: bool


class Signatures:
    """The signatures of one message, in the order of its packets."""

    def __init__(self, signing: Signing) -> None:
        self._signing = signing
        self._signers: dict[bytes, list[Signer]] = {}
        for signer in signing.signers if signing.policy != "ignore" else ():
            for key_id in signer.keys:
                self._signers.setdefault(key_id, []).append(signer)
        self._announced: list[OnePass | None] = []
        self._found: list[_Found | Verdict] = []
        self._hashes: dict[_HashName, DocumentHash] = {}
        self._has_begun = False

    def announce(self, body: bytes | None) -> None:
        """A one-pass packet; ``None`` when it was too long. One behind the literal announces nothing."""
        if self._has_begun or self._signing.policy == "ignore":
            return
        try:
            one_pass = None if body is None else read_one_pass(body)
        except FramingError:
            one_pass = None
        if self._announced and (outer := self._announced[-1]) is not None and outer.is_last:
            self._announced[-1] = replace(outer, is_over_signatures=True)
        self._announced.append(one_pass)
        if one_pass is not None:
            self._prepare(one_pass.kind, one_pass.hash_id, one_pass.salt, one_pass.issuer)

    def add(self, body: bytes | None) -> None:
        """A signature packet, in front of the literal or behind it; ``None`` when it was too long."""
        one_pass = self._announced.pop() if self._announced and self._has_begun else None
        if self._signing.policy == "ignore" or body is None or len(self._found) >= MOST_SIGNATURES:
            self._found.append(Verdict("unchecked"))
            return
        try:
            signature = read_signature(body)
        except FramingError:
            self._found.append(Verdict("bad"))
            return
        if signature is None:
            self._found.append(Verdict("unchecked"))
            return
        self._found.append(_Found(signature, one_pass, in_front=not self._has_begun))
        if not self._has_begun:
            self._prepare(signature.kind, signature.hash_id, signature.salt, signature.issuer)

    def begin(self) -> None:
        """The literal begins."""
        self._has_begun = True

    def update(self, block: Block) -> None:
        """The next block of the literal's contents."""
        for hashing in self._hashes.values():
            hashing.update(block)

    def settle(self, facts: Facts) -> None:
        """Judge them and fill in the facts; once, when the message has ended and its integrity is proven.

        Raises `SignatureRequired` when the policy is to require a good one and there is none.
        """
        verdicts = [each if isinstance(each, Verdict) else self._judged(each) for each in self._found]
        # announced, and then missing
        verdicts += [Verdict("bad", self._name(each.issuer) if each else "") for each in self._announced]
        state, signer = min(verdicts, key=lambda verdict: _PRECEDENCE.index(verdict.state), default=Verdict("none"))
        facts.signature, facts.signer = state, signer
        if self._signing.policy == "require" and state != "good":
            raise SignatureRequired(_REQUIRED, detail=f"signature: {state}, signer: {signer or 'none'}")

    def _prepare(self, kind: int, hash_id: int, salt: bytes, issuer: bytes) -> None:
        """Hash the contents for this signature, if it matters."""
        name = (hash_id, salt, kind == TEXT)
        wanted = kind in (BINARY, TEXT) and issuer in self._signers
        if not wanted or name in self._hashes or len(self._hashes) >= MOST_SIGNATURES:
            return
        hashing = new_hash(hash_id, salt)
        if hashing is not None:
            self._hashes[name] = DocumentHash(hashing, is_text=kind == TEXT)

    def _judged(self, found: _Found) -> Verdict:
        signature, one_pass = found.signature, found.one_pass
        issuer = signature.issuer or (one_pass.issuer if one_pass else b"")
        signers = self._signers.get(issuer, [])
        if not signers:
            return Verdict("unknown_signer", issuer.hex().upper())
        if new_hash(signature.hash_id, b"") is None:
            return Verdict("unchecked", self._name(issuer))
        verdicts = [Verdict(self._state(found, issuer, signer), signer.fingerprint) for signer in signers]
        return min(verdicts, key=lambda verdict: _PRECEDENCE.index(verdict.state))

    def _state(self, found: _Found, issuer: bytes, signer: Signer) -> SignatureState:
        signature = found.signature
        if signature.kind not in (BINARY, TEXT) or not (found.one_pass or found.in_front):
            return "bad"
        if not signature.understood or not self._is_meant_for_us(signature):
            return "bad"
        hashing = self._hashes.get((signature.hash_id, signature.salt, signature.kind == TEXT))
        if hashing is None:
            # nobody announced it, or too many others
            return "unchecked" if len(self._hashes) >= MOST_SIGNATURES else "bad"
        state = signer.verdict(issuer, signature, signature.digest(hashing.finished()))
        if state == "bad" and found.one_pass is not None and found.one_pass.is_over_signatures:
            return "unchecked"
        return self._state_now(signature) if state == "good" else state

    def _state_now(self, signature: Signature) -> SignatureState:
        """Of a signature that was good when it was made."""
        now = self._signing.now
        if signature.created_at > now + _CLOCK_SKEW:
            return "bad"
        ends = signature.expires_after
        return "expired" if ends is not None and signature.created_at + ends <= now else "good"

    def _is_meant_for_us(self, signature: Signature) -> bool:
        """RFC 9580 §5.2.3.36: or somebody to whom it was sent has passed it on to us."""
        return not signature.recipients or bytes.fromhex(self._signing.pair) in signature.recipients

    def _name(self, issuer: bytes) -> str:
        known = self._signers.get(issuer)
        return known[0].fingerprint if known else issuer.hex().upper()
