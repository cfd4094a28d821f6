"""What each reader says of a message's signature: our own engine, gpg, and Sequoia as far as PySequoia tells."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

import pysequoia

from keystore.errors import KeystoreError
from keystore.openpgp import decrypt
from keystore.pgp_signer import Signer
from tests.openpgp.sender import PASSPHRASE, Gpg
from tests.openpgp_differential.readers import Readers

REFUSED = "refused"
# gpg's status words; which of several counts is decided as we do it
_OF_GPG = {
    "GOODSIG": "good",
    "EXPKEYSIG": "expired",
    "REVKEYSIG": "expired",
}
_NO_PUBLIC_KEY = "9"
_PRECEDENCE = ("good", "bad", "expired", "unchecked", "unknown_signer", "none")


class Told(NamedTuple):
    """A state of `SignatureState`, or "refused". Sequoia says "not good" of all that is bad, expired or unchecked."""

    native: str
    gpg: str
    sequoia: str


class SignatureReaders:
    """All three with the same pairs and the same certificates of signers, as far as gpg reads them."""

    def __init__(self, gpg: Gpg, readers: Readers, certificates: Sequence[bytes]) -> None:
        self._gpg, self._readers = gpg, readers
        self._signers = [Signer.stored(certificate) for certificate in certificates]
        self._certificates: dict[str, pysequoia.Cert] = {}
        for signer in self._signers:
            certificate = pysequoia.Cert.from_bytes(signer.certificate)
            for key_id, each in signer.keys.items():
                names = (key_id, each.part.fingerprint, bytes.fromhex(signer.fingerprint))
                self._certificates |= {name.hex(): certificate for name in names}
            if signer.keys and next(iter(signer.keys.values())).part.version == 4:
                gpg.run("--import", stdin=signer.certificate)

    def told(self, kind: str, message: bytes) -> Told:
        """What each says of a message to the pair of this kind."""
        return Told(self._native(kind, message), self._by_gpg(message), self._by_sequoia(kind, message))

    def _native(self, kind: str, message: bytes) -> str:
        read = decrypt(io.BytesIO(message), [self._readers.key(kind)], engine="native", signers=self._signers)
        try:
            for _ in read:
                pass
        except KeystoreError:
            return REFUSED
        return read.signature

    def _by_gpg(self, message: bytes) -> str:
        unlock = ["--pinentry-mode", "loopback", "--passphrase", PASSPHRASE]
        quiet = ["--batch", "--no-tty", "--no-auto-key-locate", "--status-fd", "1", "--output", "/dev/null", "--yes"]
        done = subprocess.run(
            ["gpg", "--homedir", str(self._gpg.home), *quiet, *unlock, "--decrypt"],
            input=message,
            capture_output=True,
            check=False,
        )
        lines = [line.split() for line in done.stdout.decode(errors="replace").splitlines()]
        status = [line[1:] for line in lines if line[:1] == ["[GNUPG:]"]]
        words = {line[0] for line in status}
        # with --batch it ends here, before it has seen the MDC and other signatures
        last_words = [told for word, told in (("BADSIG", "bad"), ("EXPSIG", "expired")) if word in words]
        if last_words:
            return last_words[0]
        # NODATA: it stopped at a packet that it does not know, such as one of version 6
        if not words.issuperset({"GOODMDC", "DECRYPTION_OKAY"}) or words & {"NODATA", "UNEXPECTED"}:
            return REFUSED
        told = [_OF_GPG[line[0]] for line in status if line[0] in _OF_GPG]
        # ERRSIG: key ID, algorithm, hash, class, time, reason
        told += [
            "unknown_signer" if line[6] == _NO_PUBLIC_KEY else "unchecked" for line in status if line[0] == "ERRSIG"
        ]
        if not told and done.returncode:
            return REFUSED
        return min(told, key=_PRECEDENCE.index, default="none")

    def _by_sequoia(self, kind: str, message: bytes) -> str:
        asked: list[str] = []

        def store(wanted: list[str]) -> list[pysequoia.Cert]:
            asked.extend(wanted)
            return [self._certificates[name] for name in wanted if name in self._certificates]

        try:
            pysequoia.decrypt(bytes=message, decryptor=self._readers.decryptor(kind), store=store)
        except RuntimeError as error:
            if "no valid signatures found" not in str(error):
                return REFUSED
            if any(name in self._certificates for name in asked):
                return "not good"
            return "unknown_signer" if asked else "none"
        return "good"
