"""The codes of a rejected row (CONTRACT.md 5): one table, from which the docs page is generated.

Up to 555 the numbers are those of the upload API; from 600 on they are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

EVENT_NAME_MISSING = 509
INVALID_STRUCTURE = 512
EVENT_RESERVED = 513
BAD_GENDER = 514
BAD_EMAIL = 515
BAD_PHONE = 516
BAD_EMPLOYED = 517
BAD_EDUCATION = 518
BAD_MARRIED = 519
BAD_AGE = 520
TOO_MANY_PROPERTIES = 522
NO_USER = 523
NEITHER_EVENT_NOR_PROFILE = 524
BAD_TIMESTAMP = 525
BAD_OBJECT_ID = 526
EVENT_DISCARDED = 528
OUR_FAULT = 555
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
BAD_OPERATION = 620
TOO_MANY_VALUES = 621
TOO_MANY_EVENT_NAMES = 622


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
            INVALID_STRUCTURE,
            "invalid_structure",
            "the record is not built as a record must be",
            "Send one object of names and values for each record.",
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
        RowCode(BAD_EMPLOYED, "bad_employed", "the value of Employed is neither yes nor no", "Send Y or N."),
        RowCode(
            BAD_EDUCATION,
            "bad_education",
            "the education is not one of the known values",
            "Send School, College or Graduate.",
        ),
        RowCode(BAD_MARRIED, "bad_married", "the value of Married is neither yes nor no", "Send Y or N."),
        RowCode(BAD_AGE, "bad_age", "the age is not a whole number of years from 0 to 150", "Send the years only."),
        RowCode(
            TOO_MANY_PROPERTIES,
            "too_many_properties",
            "the record, or the account with it, would have more properties than it may have",
            "Leave out properties that nobody needs, or send several events.",
        ),
        RowCode(
            NO_USER,
            "no_user",
            "the row does not name exactly one usable user",
            "Fill exactly one of identity, objectId, FBID and GPID with a real value shorter than 1024 characters.",
        ),
        RowCode(
            NEITHER_EVENT_NOR_PROFILE,
            "neither_event_nor_profile",
            "the record says neither that it is an event nor that it is a profile",
            "Give the record the type event or profile.",
        ),
        RowCode(
            BAD_TIMESTAMP,
            "bad_timestamp",
            "the value of ts is not a time in the promised form",
            "Send whole epoch seconds, or map ts as a Date with its format.",
        ),
        RowCode(
            BAD_OBJECT_ID,
            "bad_object_id",
            "the objectId contains blanks or control characters",
            "Send the objectId as it was issued.",
        ),
        RowCode(
            EVENT_DISCARDED,
            "event_discarded",
            "events of this name are discarded for this account",
            "Leave these events out, or ask the operator to keep them again.",
        ),
        RowCode(OUR_FAULT, "our_fault", "something went wrong on our side", "Send the record again later."),
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
            "the name of the event or of a property contains a forbidden character, or is taken",
            "Leave these characters out of names: % > < ! | & . : ; $ ' \" \\ #",
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
            BAD_OPERATION,
            "bad_operation",
            "the operation is unknown, or does not fit the type of its column",
            "Use $set, $add, $remove or $delete; $add and $remove are for columns of the type StringList.",
        ),
        RowCode(
            TOO_MANY_VALUES,
            "too_many_values",
            "the list has more values than a list may have",
            "Send at most 100 different values in one list.",
        ),
        RowCode(
            TOO_MANY_EVENT_NAMES,
            "too_many_event_names",
            "the account has as many event names as it may have, and this would be one more",
            "Use one of the names that are there already, and put what differs into a property.",
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
