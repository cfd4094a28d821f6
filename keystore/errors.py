"""What can go wrong with keys, secrets and encrypted messages.

Every error has a stable ``code``, a ``public`` text that may be mailed to the sender, and a ``detail`` that only the
operator's log may see. All that depends on the outcome of a decryption is one error with one text, `Corrupt` for files
and `HpkeCannotOpen` for bodies, so that nobody can use us as an oracle (FAULTS.md, rule 4, P32 and H5).
"""

from __future__ import annotations

from typing import ClassVar


class KeystoreError(Exception):
    """Base of this package's errors; only its leaves are raised."""

    code: ClassVar[str]

    def __init__(self, public: str, *, detail: str = "") -> None:
        super().__init__(public)
        self.public = public
        self.detail = detail


class KeyUnknown(KeystoreError):
    """The manifest's ``keyId`` names no key of this account."""

    code = "key.unknown"


class KeyRetired(KeystoreError):
    """The message is encrypted to a key of this account that is retired or destroyed."""

    code = "key.retired"


class KeyRejected(KeystoreError):
    """A key that somebody wants to store fails a check; the text says which."""

    code = "key.rejected"


class KeyPassphraseWrong(KeystoreError):
    """The passphrase does not open the private key."""

    code = "key.passphrase_wrong"


class NotEncrypted(KeystoreError):
    """The file is not an encrypted OpenPGP message (plain text, signed only, clear-signed, a key)."""

    code = "pgp.not_encrypted"


class WrongKey(KeystoreError):
    """The message is encrypted to no key that is stored for the account; names the recipient key IDs seen."""

    code = "pgp.wrong_key"


class NoIntegrity(KeystoreError):
    """The message has no integrity protection (RFC 9580 §5.7)."""

    code = "pgp.no_integrity"


class Truncated(KeystoreError):
    """The file ends before its armor or its outermost packets do."""

    code = "pgp.truncated"


class ArmorInvalid(KeystoreError):
    """The armor breaks a rule of RFC 9580 §6, or something stands before or after the one message."""

    code = "pgp.armor_invalid"


class PasswordEncrypted(KeystoreError):
    """The message asks for a password (SKESK), with or without a public key beside it."""

    code = "pgp.password_encrypted"


class Unsupported(KeystoreError):
    """The message uses a version or an algorithm that no engine here can or may read; names it."""

    code = "pgp.unsupported"


class Corrupt(KeystoreError):
    """Everything that only a decryption could tell; always the same public text."""

    code = "pgp.corrupt"
    PUBLIC: ClassVar[str] = (
        "The encrypted file could not be decrypted without errors: it is damaged, or it was not made by a program "
        "that follows the OpenPGP standard. Nothing was stored. Encrypt the file again and send it again."
    )

    def __init__(self, *, detail: str) -> None:
        super().__init__(self.PUBLIC, detail=detail)


class SignatureRequired(KeystoreError):
    """The message was read to its end and is whole, but has no good signature by a registered signer."""

    code = "pgp.signature_required"


class KeysetRejected(KeystoreError):
    """A keyset that somebody wants to store fails a check; the text says which."""

    code = "hpke.keyset_rejected"


class HpkeCannotOpen(KeystoreError):
    """An encrypted body does not open with any active key, for whatever reason; always the same public text."""

    code = "hpke.cannot_open"
    PUBLIC: ClassVar[str] = (
        "The encrypted body could not be opened. Encrypt it to our current public keyset, with your account ID as the "
        "context info, and send the encrypted bytes as they are."
    )

    def __init__(self, *, detail: str) -> None:
        super().__init__(self.PUBLIC, detail=detail)


class PlainTextTooLarge(KeystoreError):
    """The decrypted data goes beyond the size or ratio cap."""

    code = "data.too_large"


class EngineFailed(KeystoreError):
    """The engine itself failed (a gpg process that died, no memory, a time limit): worth another try."""

    code = "pgp.engine_failed"


class MasterKeyMissing(KeystoreError):
    """No source holds the master key."""

    code = "vault.master_key_missing"


class MasterKeyWrong(KeystoreError):
    """The master key does not open what the vault sealed."""

    code = "vault.master_key_wrong"


class RecordTampered(KeystoreError):
    """A sealed record does not open as the record that it claims to be (changed, swapped or rolled back)."""

    code = "vault.record_tampered"
