"""Signed messages of a real gpg and of Sequoia."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

import pysequoia
import pytest
from pysequoia import CipherSuite, Profile

from keystore.openpgp import EngineName, SignaturePolicy
from keystore.pgp_keys import PrivateKey
from keystore.pgp_signer import Signer
from keystore.secret import Secret
from tests.openpgp import packet_writer as write
from tests.openpgp.conftest import PLAIN
from tests.openpgp.reading import Judged, judged, plain_text, verdict
from tests.openpgp.sender import KINDS, Gpg

engines = pytest.mark.parametrize("engine", ["native", "gnupg"])
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
HASHES = {"SHA224": "good", "SHA256": "good", "SHA384": "good", "SHA512": "good"}
HASHES |= dict.fromkeys(("MD5", "SHA1", "RIPEMD160"), "unchecked")
OLD = "20240110T000000"  # what gpg takes the time to be
SUITES = [
    CipherSuite.Cv25519,
    CipherSuite.Cv448,
    CipherSuite.P256,
    CipherSuite.P384,
    CipherSuite.P521,
    CipherSuite.RSA2k,
]
TEXTS = [
    PLAIN,
    PLAIN.replace(b"\n", b"\r\n"),
    b"",
    b"\n",
    b"\r\n",
    b"no line end",
    b"blanks  \t \nand \t\r\nmore\n\n\n",
    b"a\rCR\r\ralone\n\r\n\rand\r\r\nat the end\r",
    "Écran,Ґ\n".encode() * 3000,
]


def signer_of(gpg: Gpg, user_id: str) -> Signer:
    return Signer.read(gpg.run("--armor", "--export", f"={user_id}"), datetime.now(UTC))


def signing(user_id: str) -> list[str]:
    return ["--sign", "--local-user", f"={user_id}"]


@pytest.fixture(scope="module")
def signers(gpg: Gpg) -> dict[str, Signer]:
    """By the kinds of key of `KINDS`."""
    return {kind: signer_of(gpg, kind) for kind in KINDS}


@engines
@pytest.mark.parametrize("kind", KINDS)
def test_a_registered_signer_is_good(
    gpg: Gpg, signers: dict[str, Signer], by_policy: dict[SignaturePolicy, PrivateKey], kind: str, engine: EngineName
) -> None:
    """FAULTS P21: RSA, Ed25519 and NIST, with every compression."""
    good = Judged("ok", "good", gpg.fingerprint(kind))
    for compression in ("uncompressed", "zip", "zlib", "bzip2"):
        data = gpg.encrypt("rsa", PLAIN, *signing(kind), "--compress-algo", compression)
        assert judged(data, by_policy["require"], list(signers.values()), engine=engine) == good
        assert plain_text(data, by_policy["require"], engine=engine, signers=[signers[kind]]) == PLAIN


@engines
def test_the_three_policies(
    gpg: Gpg, signers: dict[str, Signer], by_policy: dict[SignaturePolicy, PrivateKey], engine: EngineName
) -> None:
    """FAULTS P21: good, of a stranger, none at all."""
    key_id = gpg.fingerprint("cv")[-16:]
    signed, unsigned = gpg.encrypt("rsa", PLAIN, *signing("cv")), gpg.encrypt("rsa", PLAIN)
    expected = {
        "ignore": [("ok", "unchecked", ""), ("ok", "unchecked", ""), ("ok", "none", "")],
        "verify": [("ok", "good", gpg.fingerprint("cv")), ("ok", "unknown_signer", key_id), ("ok", "none", "")],
        "require": [
            ("ok", "good", gpg.fingerprint("cv")),
            ("pgp.signature_required", "unknown_signer", key_id),
            ("pgp.signature_required", "none", ""),
        ],
    }
    assert expected.keys() == set(get_args(SignaturePolicy))
    for policy, key in by_policy.items():
        found = [
            judged(signed, key, list(signers.values()), engine=engine),
            judged(signed, key, [signers["nist"]], engine=engine),
            judged(unsigned, key, list(signers.values()), engine=engine),
        ]
        assert found == expected[policy]


@engines
def test_the_policy_is_that_of_the_pair_that_opens_the_message(
    gpg: Gpg, by_policy: dict[SignaturePolicy, PrivateKey], keys: dict[str, PrivateKey], engine: EngineName
) -> None:
    """FAULTS P18, P21: named or hidden."""
    ours = [by_policy["require"], keys["cv"]]
    for options in ([], ["--throw-keyids"]):
        assert verdict(gpg.encrypt("cv", PLAIN, *options), *ours, engine=engine) == "ok"
        assert verdict(gpg.encrypt("rsa", PLAIN, *options), *ours, engine=engine) == "pgp.signature_required"


def test_a_signature_in_what_gpg_alone_can_decrypt(
    gpg: Gpg, signers: dict[str, Signer], by_policy: dict[SignaturePolicy, PrivateKey]
) -> None:
    """FAULTS P21, P23."""
    data = gpg.encrypt("rsa", PLAIN, *signing("nist"), "--cipher-algo", "CAMELLIA256")
    good = Judged("ok", "good", signers["nist"].fingerprint)
    assert judged(data, by_policy["require"], [signers["nist"]], engine="auto") == good
    assert judged(data, by_policy["require"], [signers["cv"]], engine="auto").code == "pgp.signature_required"


@pytest.mark.parametrize("name", HASHES)
def test_every_hash(gpg: Gpg, signers: dict[str, Signer], rsa: PrivateKey, name: str) -> None:
    """FAULTS P21: MD5, SHA-1 and RIPEMD-160 prove nothing, but nothing is forged either."""
    weak = ["--allow-weak-digest-algos"] if name == "MD5" else []
    data = gpg.encrypt("rsa", PLAIN, *signing("rsa"), "--digest-algo", name, *weak)
    assert judged(data, rsa, [signers["rsa"]]) == ("ok", HASHES[name], signers["rsa"].fingerprint)


def test_dsa(gpg: Gpg, by_policy: dict[SignaturePolicy, PrivateKey]) -> None:
    gpg.make_key("dsa", "dsa2048")
    signer = signer_of(gpg, "dsa")
    assert signer.algorithm == "DSA 2048"
    data = gpg.encrypt("rsa", PLAIN, *signing("dsa"))
    assert judged(data, by_policy["require"], [signer]) == ("ok", "good", signer.fingerprint)


def test_a_subkey_that_signs_is_its_primary_key(gpg: Gpg, by_policy: dict[SignaturePolicy, PrivateKey]) -> None:
    fingerprint = gpg.make_key("with a subkey", "ed25519")
    gpg.run("--quick-add-key", fingerprint, "rsa2048", "sign")
    signer = signer_of(gpg, "with a subkey")
    assert signer.algorithm == "Ed25519 + RSA 2048"
    primary = gpg.encrypt("rsa", PLAIN, "--sign", "--local-user", f"{fingerprint}!")
    for data in (primary, gpg.encrypt("rsa", PLAIN, *signing("with a subkey"))):
        assert judged(data, by_policy["require"], [signer]) == ("ok", "good", fingerprint)


@engines
def test_signed_as_text(
    gpg: Gpg, signers: dict[str, Signer], by_policy: dict[SignaturePolicy, PrivateKey], engine: EngineName
) -> None:
    """FAULTS P21, P24: gpg sends the line ends as CRLF, and the bytes stay what it sends."""
    for text in TEXTS if engine == "native" else TEXTS[:2]:
        data = gpg.encrypt("rsa", text, *signing("cv"), "--textmode")
        found = judged(data, by_policy["require"], [signers["cv"]], engine=engine)
        assert found == ("ok", "good", signers["cv"].fingerprint), text


def test_several_signers_of_whom_one_is_registered(
    gpg: Gpg, signers: dict[str, Signer], by_policy: dict[SignaturePolicy, PrivateKey]
) -> None:
    """FAULTS P21: the packets of all of them stand around the one literal (RFC 9580 §10.3)."""
    everybody = [option for kind in KINDS for option in signing(kind)]
    for mode in ([], ["--textmode"]):
        data = gpg.encrypt("rsa", PLAIN, *everybody, *mode)
        for signer in signers.values():
            assert judged(data, by_policy["require"], [signer]) == ("ok", "good", signer.fingerprint)
        assert judged(data, by_policy["require"], list(signers.values())).code == "ok"


def test_signers_whose_key_or_signature_expires(gpg: Gpg, rsa: PrivateKey) -> None:
    """FAULTS P21: what was signed in time stays good, unless the signature itself says until when."""
    at = ["--faked-system-time", OLD, "--ignore-time-conflict", "--ignore-valid-from"]
    gpg.run(*at, "--quick-gen-key", "for a month", "ed25519", "default", "2024-02-10")
    fingerprint = gpg.fingerprint("for a month")
    then = datetime.strptime(OLD, "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    signer = Signer.read(gpg.run("--export", "=for a month"), then)
    in_time = gpg.encrypt("rsa", PLAIN, *at, *signing("for a month"))
    for_a_week = gpg.encrypt("rsa", PLAIN, *at, *signing("for a month"), "--default-sig-expire", "7d")
    gpg.run(*at, "--quick-set-expire", fingerprint, "0")
    too_late = gpg.encrypt("rsa", PLAIN, *signing("for a month"))
    assert judged(in_time, rsa, [signer], now=NOW) == ("ok", "good", fingerprint)
    assert judged(for_a_week, rsa, [signer], now=then + 6 * DAY) == ("ok", "good", fingerprint)
    assert judged(for_a_week, rsa, [signer], now=then + 7 * DAY) == ("ok", "expired", fingerprint)
    assert judged(too_late, rsa, [signer], now=NOW) == ("ok", "expired", fingerprint)
    assert judged(too_late, rsa, [signer_of(gpg, "for a month")], now=NOW) == ("ok", "good", fingerprint)


def test_a_detached_signature_in_front_of_the_literal(gpg: Gpg, signers: dict[str, Signer], rsa: PrivateKey) -> None:
    """FAULTS P21: the old way (RFC 9580 §10.3); over another document it is bad."""
    for mode, kind in (([], b"b"), (["--textmode"], b"t")):
        detached = gpg.run("--local-user", "=nist", *mode, "--detach-sign", stdin=PLAIN)
        for text, state in ((PLAIN, "good"), (PLAIN[:-1], "bad")):
            data = write.message(rsa, detached + write.literal(text, mode=kind))
            assert judged(data, rsa, [signers["nist"]]) == ("ok", state, signers["nist"].fingerprint)


@engines
@pytest.mark.parametrize("compression", ["uncompressed", "zlib"])
def test_a_tampered_message_stays_corrupt(
    gpg: Gpg,
    signers: dict[str, Signer],
    by_policy: dict[SignaturePolicy, PrivateKey],
    compression: str,
    engine: EngineName,
) -> None:
    """FAULTS P1, P21, P32: whatever the signature is worth, nothing is told of it."""
    for options in (signing("cv"), signing("rsa"), []):
        data = gpg.encrypt("rsa", PLAIN, *options, "--compress-algo", compression)
        spots = (1, 20, 21, 400, len(data) // 2) if engine == "native" else (1,)
        for spot in spots:
            changed = data[:-spot] + bytes([data[-spot] ^ 1]) + data[len(data) - spot + 1 :]
            for policy in ("verify", "require"):
                found = judged(changed, by_policy[policy], [signers["cv"]], engine=engine)
                assert found == ("pgp.corrupt", "", "")
        assert judged(data[:-1], by_policy["require"], [signers["cv"]], engine=engine) == ("pgp.truncated", "", "")


@pytest.mark.parametrize("suite", SUITES, ids=str)
@pytest.mark.parametrize("profile", [Profile.RFC4880, Profile.RFC9580], ids=["4", "6"])
def test_signers_of_sequoia(by_policy: dict[SignaturePolicy, PrivateKey], profile: Profile, suite: CipherSuite) -> None:
    """FAULTS P21, P26: subkeys of version 4 and 6 that sign."""
    theirs = pysequoia.Tsk.generate("Acme", profile=profile, cipher_suite=suite)
    certificate = theirs.extract_certificate()
    key = by_policy["require"]
    ours = pysequoia.Cert.from_bytes(key.public_armored())
    data = pysequoia.encrypt(PLAIN, recipients=[ours], signer=theirs.signer())
    signer = Signer.read(bytes(certificate), NOW + DAY)
    assert signer.fingerprint.lower() == certificate.fingerprint
    by_engine: list[EngineName] = ["native", "gnupg"] if suite == CipherSuite.Cv25519 else ["native"]
    for engine in by_engine:
        assert judged(data, key, [signer], engine=engine) == ("ok", "good", signer.fingerprint)
        assert judged(data, key, [], engine=engine).code == "pgp.signature_required"


def test_a_version_6_message_by_a_version_6_signer() -> None:
    """FAULTS P21, P26."""
    pair, other = (pysequoia.Tsk.generate("Acme", profile=Profile.RFC9580) for _ in range(2))
    key = PrivateKey.unlock("uuid", Secret(bytes(pair)), None, signatures="require")
    signer = Signer.read(bytes(other.extract_certificate()), NOW + DAY)
    data = pysequoia.encrypt(PLAIN, recipients=[pair.extract_certificate()], signer=other.signer(), armor=False)
    assert judged(data, key, [signer]) == ("ok", "good", signer.fingerprint)
    for at in range(len(data) - 1, len(data) - 4000, -97):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        assert judged(changed, key, [signer]) == ("pgp.corrupt", "", "")
