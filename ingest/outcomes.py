"""What happens after each error: the one table from error class to consequence (DESIGN.md 5).

Everything else that goes wrong is a fault of ours: the import is held, with a constant text for the sender, and the
log has the cause.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from enum import StrEnum

from ingest import errors as flow
from keystore import errors as keys
from manifests import errors as promises
from stores import errors as lake


class Next(StrEnum):
    """What happens to the import: ``reject`` (the sender must act), ``defer`` (nobody), ``hold`` (the operator)."""

    REJECT = "reject"
    DEFER = "defer"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class After:
    """The consequence of an error: what happens next, and what the one who can fix it should do."""

    next: Next
    remedy: str


def _reject(remedy: str) -> After:
    return After(Next.REJECT, remedy)


_SEND_AGAIN = "Encrypt the file again, then send the file and its manifest again."
_WAIT = "Nothing to do: it is tried again by itself."
_OPERATOR = (
    "Nothing to do for the sender, the file is kept: the operator must act, then try it again "
    "(`sealdrop imports retry ID`)."
)

AFTER: dict[type[Exception], After] = {
    promises.ManifestInvalid: _reject(
        "Correct the manifest and send it again. The data file is still in your drop if it was not taken: then the "
        "manifest alone is enough. `sealdrop manifest check` finds the same problems before you send."
    ),
    promises.HeaderMismatch: _reject(
        "Correct the names under `columns` in the manifest, or the header of the file, and send both again."
    ),
    promises.TypeConflict: _reject(
        "Give the column the stored type in the manifest, or store it under another name (`ctName`); send both again."
    ),
    promises.DataMalformed: _reject("Correct the data file at the place named, and send file and manifest again."),
    promises.DataEncoding: _reject(
        "Save the data file as UTF-8, or name its encoding in `encoding` in the manifest, and send both again."
    ),
    promises.LimitExceeded: _reject("Make the data file smaller in the way named, and send file and manifest again."),
    promises.TooManyErrors: _reject(
        "Correct the rejected rows, or allow more with `maxErrors` in the manifest, and send file and manifest again."
    ),
    keys.KeyUnknown: _reject(
        "Put the key ID that you were given for your stored key pair into `keyId`; it is a UUID, not a fingerprint."
    ),
    keys.KeyRetired: _reject("Encrypt the file to a key pair of yours that is still active, then send both again."),
    keys.NotEncrypted: _reject("Encrypt the file with OpenPGP (`gpg --encrypt --armor -r ...`), then send both again."),
    keys.WrongKey: _reject(
        "Encrypt the file to a key pair that is stored for your account, then send the file and its manifest again."
    ),
    keys.NoIntegrity: _reject(
        "Encrypt with a program that protects the message against changes (every current gpg does); send both again."
    ),
    keys.Truncated: _reject("The upload or the encryption was cut short. Send the file and its manifest again."),
    keys.ArmorInvalid: _reject("Send exactly one encrypted message with nothing before or after it."),
    keys.PasswordEncrypted: _reject("Encrypt the file to your key pair only (no `--symmetric`), then send both again."),
    keys.Unsupported: _reject(
        "Encrypt the file with the usual algorithms (AES, RSA or Curve25519), then send both again."
    ),
    keys.Corrupt: _reject(_SEND_AGAIN),
    keys.SignatureRequired: _reject(
        "Sign the file with the key that is registered for the account when you encrypt it "
        "(`gpg --sign --encrypt ...`), then send both again."
    ),
    keys.KeysetRejected: _reject("Make or export the public keyset as the text says, and upload it again."),
    keys.HpkeCannotOpen: _reject("Encrypt the body as the text says, and send it again."),
    keys.PlainTextTooLarge: _reject("Split the data into several files, and send each with its own manifest."),
    keys.EngineFailed: After(Next.DEFER, _WAIT),
    keys.KeyRejected: After(Next.HOLD, _OPERATOR),
    keys.KeyPassphraseWrong: After(Next.HOLD, _OPERATOR),
    keys.MasterKeyMissing: After(Next.HOLD, _OPERATOR),
    keys.MasterKeyWrong: After(Next.HOLD, _OPERATOR),
    keys.RecordTampered: After(Next.HOLD, _OPERATOR),
    lake.StoreUnavailable: After(Next.DEFER, _WAIT),
    lake.StoreConflict: After(Next.DEFER, _WAIT),
    lake.StoreDamaged: After(Next.HOLD, _OPERATOR),
    lake.StoreBusy: After(Next.DEFER, _WAIT),
    lake.SnapshotGone: _reject("Ask for a new cursor, and read the events again from the first page."),
    flow.AccountDisabled: _reject(
        "Ask whoever runs this service; send the file and its manifest again when it is open."
    ),
    flow.FileMissing: _reject("Send the data file and its manifest again."),
    flow.SizeMismatch: _reject("Send the complete file, or correct `size` in the manifest, then send both again."),
    flow.ChecksumMismatch: _reject("Send the file again, or correct `sha256` in the manifest, then send both again."),
    flow.BodyMalformed: _reject("Correct the body in the way named, and send it again."),
    flow.TooManyRecords: _reject("Send the records in several requests."),
    flow.KeyReused: _reject("Give each new request an `Idempotency-Key` of its own; only a repeat has the same."),
    flow.UploadsBusy: After(Next.DEFER, "Send the request again after the seconds in `Retry-After`."),
    flow.CursorInvalid: _reject("Ask for a new cursor, and read the events again from the first page."),
    flow.WorkerLost: After(Next.HOLD, _OPERATOR),
    flow.SpoolUnavailable: After(Next.DEFER, _WAIT),
    flow.DiskFull: After(Next.DEFER, _WAIT),
    flow.LedgerUnavailable: After(Next.DEFER, _WAIT),
    flow.LedgerConflict: After(Next.DEFER, _WAIT),
}

OUR_FAULT = After(Next.HOLD, _OPERATOR)
OUR_FAULT_CODE = "internal"
OUR_FAULT_TEXT = "Something went wrong on our side. The file is kept, and the operator was told."


def after(error: Exception) -> After:
    """The consequence of an error; of one that the table does not know: hold."""
    return AFTER.get(type(error), OUR_FAULT)


def code_of(error: Exception) -> str:
    """The stable code of an error."""
    return str(getattr(error, "code", OUR_FAULT_CODE)) if type(error) in AFTER else OUR_FAULT_CODE


def public_of(error: Exception) -> str:
    """The text of an error that may be mailed to the sender; nothing of an unknown error gets out."""
    return str(getattr(error, "public", OUR_FAULT_TEXT)) if type(error) in AFTER else OUR_FAULT_TEXT


def cause_of(error: BaseException) -> str:
    """What the log says about an error: the detail of one of ours, else its class and where it came from.

    Of one of the operating system also what is wrong, as «No space left on device».
    Never the text of an error that nobody foresaw: it could hold a row's value.
    """
    if type(error) in AFTER:
        return str(getattr(error, "detail", ""))
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    reason = f" ({os.strerror(error.errno)})" if isinstance(error, OSError) and isinstance(error.errno, int) else ""
    return f"{type(error).__module__}.{type(error).__qualname__}{reason} at " + " < ".join(reversed(places))
