"""What is known about a message beside its plain text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EngineName = Literal["auto", "native", "gnupg"]

# of a pair: pass signatures over unread, verify and record them, or refuse what has no good one
SignaturePolicy = Literal["ignore", "verify", "require"]

# what the signatures of a message came to; "" while it is not known. "expired": the signer's key had expired or was
# revoked when it signed, or the signature itself has expired. "unchecked": by policy, or for an algorithm, a hash or a
# version that is not verified here
SignatureState = Literal["", "none", "good", "bad", "unknown_signer", "expired", "unchecked"]

# RFC 9580 §9.3
CIPHER_NAMES = {
    1: "IDEA",
    2: "3DES",
    3: "CAST5",
    4: "Blowfish",
    7: "AES128",
    8: "AES192",
    9: "AES256",
    10: "Twofish",
    11: "Camellia128",
    12: "Camellia192",
    13: "Camellia256",
}


@dataclass(eq=False)
class Facts:
    """Filled in while a message is read; complete when its plain text has ended without an error."""

    key_id: str = ""  # of the key pair that opened it
    recipients: tuple[str, ...] = ()  # OpenPGP key IDs, 16 upper hex digits, in file order; all zeros when hidden
    cipher: str = ""
    compression: str = ""  # "none", "zip", "zlib", "bzip2", joined by "+" when nested
    integrity: str = ""  # "mdc" or "aead"
    engine: str = ""  # "native" or "gnupg"
    bytes_plain: int = 0
    pair: str = ""  # fingerprint of the primary key of the pair that opened it, upper hex
    signature: SignatureState = ""
    signer: str = (
        ""  # fingerprint of a registered signer's primary key, else the OpenPGP key ID that the signature names
    )
