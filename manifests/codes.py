"""The codes of a rejected row (CONTRACT.md 5): one table, from which the docs page is generated.

Up to 555 the numbers are those of the upload API; from 600 on they are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

EVENT_NAME_MISSING = 509
EVENT_RESERVED = 513
BAD_GENDER = 514
BAD_EMAIL = 515
BAD_PHONE = 516
NO_USER = 523
BAD_TIMESTAMP = 525
WRONG_TYPE = 600
BAD_DATE = 601
TOO_LONG = 602
FORBIDDEN_NAME = 603
RAGGED = 604
BAD_ENCODING = 605
BAD_QUOTE = 606
BAD_JSON = 610
DOUBLED_KEY = 611
LATE_KEY = 612


@dataclass(frozen=True, slots=True)
class RowCode:
    """One reason to reject a row: its number, a stable name, what it means, and what the sender does about it."""

    code: int
    name: str
    meaning: str
    remedy: str


ROW_CODES: dict[int, RowCode] = {
    row_code.code: row_code
    for row_code in (
        RowCode(
            EVENT_NAME_MISSING,
            "event_name_missing",
            "the event has no name",
            "Fill the column that is mapped to evtName, or give the manifest an eventName.",
        ),
        RowCode(
            EVENT_RESERVED,
            "event_reserved",
            "the event name is reserved for the system",
            "Use another event name, or ask the operator to allow reserved names for your account.",
        ),
        RowCode(BAD_GENDER, "bad_gender", "the gender is not one of the known values", "Send M, F, O or the words."),
        RowCode(BAD_EMAIL, "bad_email", "the value is not a mail address", "Send one plain address, name@domain."),
        RowCode(
            BAD_PHONE,
            "bad_phone",
            "the value is not a phone number with country code",
            "Send + and 5 to 15 digits without blanks or dashes, the country code first.",
        ),
        RowCode(
            NO_USER,
            "no_user",
            "the row does not name exactly one usable user",
            "Fill exactly one of identity, objectId, FBID and GPID with a real value shorter than 1024 characters.",
        ),
        RowCode(
            BAD_TIMESTAMP,
            "bad_timestamp",
            "the value of ts is not a time in the promised form",
            "Send whole epoch seconds, or map ts as a Date with its format.",
        ),
        RowCode(
            WRONG_TYPE,
            "wrong_type",
            "the value does not have the type of its column",
            "Correct the value, or give the column another dataType in the manifest.",
        ),
        RowCode(
            BAD_DATE,
            "bad_date",
            "the value is not a date in the promised form",
            "Correct the value, or give the column the right format and timezone in the manifest.",
        ),
        RowCode(TOO_LONG, "too_long", "the value is longer than allowed", "Send at most 512 characters."),
        RowCode(
            FORBIDDEN_NAME,
            "forbidden_name",
            "the event name contains a forbidden character",
            "Leave these characters out of event names: % > < ! | & . : ; $ ' \" \\ #",
        ),
        RowCode(
            RAGGED,
            "ragged",
            "the row does not have as many fields as the header",
            "Quote fields that contain the delimiter, and write one field for each column, empty ones too.",
        ),
        RowCode(
            BAD_ENCODING,
            "bad_encoding",
            "the row contains bytes that are not UTF-8 text, or a NUL",
            "Write the file as UTF-8, or name its encoding in `encoding` in the manifest.",
        ),
        RowCode(
            BAD_QUOTE,
            "bad_quote",
            "a quote stands where none may stand (RFC 4180)",
            "Put fields with quotes into quotes and double the quotes inside.",
        ),
        RowCode(
            BAD_JSON,
            "bad_json",
            "the record is not one valid JSON object (RFC 8259) of at most 64 levels",
            "Write one whole object for each record; in JSON lines, in one line. NaN, Infinity, raw control characters "
            "and lone surrogates are no JSON.",
        ),
        RowCode(
            DOUBLED_KEY, "doubled_key", "an object in the record has the same key twice", "Write each key only once."
        ),
        RowCode(
            LATE_KEY,
            "late_key",
            "the record has a key that neither the manifest nor the beginning of the file has",
            "Name every key that may appear under `columns` in the manifest; `{}` is enough, or ignore it.",
        ),
    )
}
"""Every code that a row can be rejected with, by number."""
