"""Strict, streaming OpenPGP decryption: our own engine first, GnuPG for what it cannot read.

Accepted are messages encrypted to a public key, with integrity protection, holding one literal packet (RFC 9580 §10.3).
Errors that anyone could see without a private key are precise; all that depends on a decryption is `Corrupt`.
Signatures inside are verified and recorded; they refuse a message only when the pair that opens it requires a good one.
"""

from keystore.openpgp.engine import Message, decrypt
from keystore.openpgp.facts import EngineName, Facts, SignaturePolicy, SignatureState
from keystore.openpgp.gnupg_home import sweep_homes
from keystore.openpgp.limits import Limits

__all__ = ["EngineName", "Facts", "Limits", "Message", "SignaturePolicy", "SignatureState", "decrypt", "sweep_homes"]
