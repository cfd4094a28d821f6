"""Signed messages from gpg, from Sequoia, and crafted ones, with what our reader should say of the signature."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pysequoia
from pysequoia import CipherSuite, Profile, SignatureMode

from keystore.openpgp import SignatureState
from tests.openpgp import certificate_writer, signature_writer
from tests.openpgp import packet_writer as write
from tests.openpgp import signature_vectors as vectors
from tests.openpgp.sender import Gpg
from tests.openpgp.signature_writer import KEY_MADE, MD5, TEXT, Key, key, one_pass, signature, signature_body
from tests.openpgp_differential.readers import KINDS
from tests.openpgp_differential.senders import crafted, plain_text
from tests.openpgp_differential.session import Session

# none of these depends on the day on which it is read
CRAFTED = {
    name: (vector.state, vector.inner)
    for name, vector in vectors.VECTORS.items()
    if not any(words in name for words in ("clock", "not expired yet", "tomorrow", "expires now"))
}
_KINDS = ("RSA", "Ed25519", "P-256", "P-384", "P-521")
EXPIRED = key("P-256", seed=20)  # its certificate says until when
KEYS = {f"v{version} {kind}": key(kind, version) for version in (4, 6) for kind in _KINDS} | {
    "v6 Ed448": key("Ed448", 6)
}
SUITES = {"Cv25519": CipherSuite.Cv25519, "P521": CipherSuite.P521, "RSA2k": CipherSuite.RSA2k}
_TEXTS = {"LF": b"a,b\nc,d\n", "CRLF": b"a,b\r\nc,d\r\n", "CR": b"a,b\rc,d\r", "blanks": b"a,b \r\nc,d\t\r\n"}
_HASHES = {
    "SHA224": signature_writer.SHA224,
    "SHA256": signature_writer.SHA256,
    "SHA384": signature_writer.SHA384,
    "SHA512": signature_writer.SHA512,
}


@dataclass(frozen=True)
class Case:
    """A message to the pair of a kind, and our verdict on its signature."""

    name: str
    kind: str
    message: bytes
    state: SignatureState


def from_gpg(gpg: Gpg, stranger: Gpg, *, full: bool) -> Iterator[Case]:
    """Every kind of key as signer; the compressions, hashes and sizes in turn; as text too; by two; by a stranger."""
    compressions = itertools.cycle(("uncompressed", "zip", "zlib"))
    # SHA-224 is too short for its elliptic curves
    hashes = itertools.cycle(("SHA256", "SHA384", "SHA512"))
    sizes = itertools.cycle((0, 1, 513, 8192, 65_537))
    for kind, textmode in itertools.product(KINDS, (False, True)):
        for _ in range(12 if full else 3):
            size, compression, name = next(sizes), next(compressions), next(hashes)
            options = ["--sign", "--local-user", f"={kind}", "--compress-algo", compression, "--digest-algo", name]
            options += ["--textmode"] * textmode
            message = gpg.encrypt("cv", plain_text(size), *options)
            text = " text" * textmode
            yield Case(f"gpg {kind} {compression} {name} {size}{text}", "cv", message, "good")
    for first, second in itertools.permutations(KINDS, 2):
        both = ["--sign", "--local-user", f"={first}", "--local-user", f"={second}", "--compress-level", "0"]
        yield Case(f"gpg {first} and {second}", "rsa", gpg.encrypt("rsa", plain_text(99), *both), "good")
    rare: dict[str, SignatureState] = {"SHA224": "good", "SHA1": "unchecked", "RIPEMD160": "unchecked"}
    for name, state in rare.items():
        options = ["--sign", "--local-user", "=rsa", "--digest-algo", name, "--compress-level", "0"]
        yield Case(f"gpg rsa {name}", "cv", gpg.encrypt("cv", plain_text(99), *options), state)
    stranger.run("--import", stdin=gpg.run("--export", "=cv"))
    by_a_stranger = ["--sign", "--local-user", "=stranger", "--compress-level", "0"]
    yield Case("gpg stranger", "cv", stranger.encrypt("cv", plain_text(99), *by_a_stranger), "unknown_signer")


def damaged(gpg: Gpg, session: Session, *, full: bool) -> Iterator[Case]:
    """What gpg signed, with an octet changed in the literal's contents or in the signature's value."""
    for kind in KINDS:
        inner = gpg.run("--local-user", f"={kind}", "--compress-level", "0", "--sign", stdin=plain_text(400))
        start = inner.index(plain_text(400))
        value = len(inner) - 24  # behind the length of its last number
        for at in (*range(start, start + 400, 40 if full else 133), *range(value, len(inner), 3 if full else 9)):
            changed = inner[:at] + bytes([inner[at] ^ 1]) + inner[at + 1 :]
            yield Case(f"gpg {kind} changed at {at}", "cv", crafted(session, changed), "bad")
        other = inner[:start] + plain_text(800)[400:] + inner[start + 400 :]
        yield Case(f"gpg {kind} around another text", "cv", crafted(session, other), "bad")


def from_sequoia(signers: dict[str, pysequoia.Tsk], session: Session) -> Iterator[Case]:
    """Subkeys of version 4 and 6 that sign; it signs what is encrypted here."""
    for name, tsk in signers.items():
        for size in (0, 513, 65_537):
            inner = pysequoia.sign(tsk.signer(), plain_text(size), mode=SignatureMode.INLINE, armor=False)
            yield Case(f"sequoia {name} {size}", "cv", crafted(session, inner), "good")


def sequoias() -> dict[str, pysequoia.Tsk]:
    """Signers with subkeys, named by version and algorithms."""
    versions = {4: Profile.RFC4880, 6: Profile.RFC9580}
    return {
        f"v{version} {name}": pysequoia.Tsk.generate("Acme", profile=profile, cipher_suite=suite)
        for version, profile in versions.items()
        for name, suite in SUITES.items()
    }


def expired_certificate() -> bytes:
    flags = certificate_writer.flags(certificate_writer.CERTIFY | certificate_writer.SIGN)
    said = flags + certificate_writer.seconds_valid(vectors.YEAR)
    return certificate_writer.primary(EXPIRED) + certificate_writer.user_id(EXPIRED, extra=said)


def from_writer(session: Session) -> Iterator[Case]:
    """All the vectors, and every key with every hash."""
    for name, (state, inner) in CRAFTED.items():
        yield Case(f"crafted {name}", "cv", crafted(session, inner), state)
    for name, made, state in (("in time", KEY_MADE + 9, "good"), ("too late", KEY_MADE + vectors.YEAR, "expired")):
        inner = signature_writer.signed(EXPIRED, vectors.PLAIN, made=made)
        yield Case(f"expired key {name}", "cv", crafted(session, inner), state)
    for named, by in KEYS.items():
        for name, hash_id in _HASHES.items():
            inner = signature_writer.signed(by, vectors.PLAIN, hash_id=hash_id)
            # RFC 9580 §5.2.3.3, §5.2.3.5: a digest that EdDSA may not sign
            too_short = ("Ed25519" in named and name == "SHA224") or ("Ed448" in named and name != "SHA512")
            yield Case(f"key {named} {name}", "cv", crafted(session, inner), "bad" if too_short else "good")


def over_text(session: Session) -> Iterator[Case]:
    """Signatures over text that canonicalise the line ends, as RFC 9580 §5.2.1.2 says, and that do not."""
    for (name, text), mode in itertools.product(_TEXTS.items(), (b"b", b"t", b"u")):
        literal, announced = write.literal(text, mode=mode), one_pass(vectors.OURS, kind=TEXT)
        inner = announced + literal + signature(vectors.OURS, text, kind=TEXT)
        yield Case(f"text {name} in {mode.decode()}", "cv", crafted(session, inner), "good")
        raw = announced + literal + write.packet(2, signature_body(vectors.OURS, text, kind=TEXT))
        state: SignatureState = "bad" if name == "LF" else "good"
        yield Case(f"text {name} as it is in {mode.decode()}", "cv", crafted(session, raw), state)


def by_several(session: Session) -> Iterator[Case]:
    """Two signatures around one literal, of every two states that gpg can read, in both orders."""
    plain, literal = vectors.PLAIN, write.literal(vectors.PLAIN)
    one: dict[SignatureState, tuple[Key, bytes, int]] = {
        "good": (vectors.OURS, signature(vectors.OURS, plain), signature_writer.SHA256),
        "bad": (vectors.RSA, signature(vectors.RSA, plain[1:]), signature_writer.SHA256),
        "unchecked": (vectors.RSA, signature(vectors.RSA, plain, hash_id=MD5), MD5),
        "unknown_signer": (vectors.STRANGER, signature(vectors.STRANGER, plain), signature_writer.SHA256),
    }
    states = list(one)
    for first, second in itertools.permutations(states, 2):
        (by, outer, outer_hash), (other, inner, inner_hash) = one[first], one[second]
        front = one_pass(by, last=False, hash_id=outer_hash) + one_pass(other, hash_id=inner_hash)
        state = min(first, second, key=states.index)
        yield Case(f"several {first}, {second}", "cv", crafted(session, front + literal + inner + outer), state)
