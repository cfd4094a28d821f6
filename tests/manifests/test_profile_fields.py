"""The fields of a profile with rules of their own, against plain Python (CONTRACT.md 3, codes 514 to 520)."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import codes
from manifests.model import Column
from manifests.names import CONSENT_FLAGS
from manifests.types import DataType, ImportType
from tests.manifests.rows import cast, frame, mapped

YES = {"y", "yes", "1", "true"}
NO = {"n", "no", "0", "false"}
GENDERS = {"m": "M", "male": "M", "f": "F", "female": "F", "o": "O", "other": "O", "others": "O"}
EDUCATIONS = {"school": "School", "college": "College", "graduate": "Graduate"}


def expected(target: str, cell: str) -> object:
    """What a plain reader makes of one cell."""
    text = cell.strip(" \t")
    if not text:
        return None
    lower = text.lower()
    match target:
        case "Gender":
            return GENDERS.get(lower, codes.BAD_GENDER)
        case "Education":
            return EDUCATIONS.get(lower, codes.BAD_EDUCATION)
        case "Employed" | "Married":
            code = codes.BAD_EMPLOYED if target == "Employed" else codes.BAD_MARRIED
            return True if lower in YES else False if lower in NO else code
        case "Age":
            whole = re.fullmatch(r"[+-]?[0-9]{1,30}", text)
            return int(text) if whole and 0 <= int(text) <= 150 else codes.BAD_AGE
        case "Phone":
            return text if re.fullmatch(r"\+[1-9][0-9]{4,14}", text) else codes.BAD_PHONE
        case _:
            return {"1": True, "true": True, "0": False, "false": False}.get(lower, codes.WRONG_TYPE)


FIELDS = ["Gender", "Education", "Employed", "Married", "Age", "Phone", "MSG-sms"]
CELLS = (
    st.sampled_from(
        [*YES, *NO, *GENDERS, *EDUCATIONS, "Y", "Male", "GRADUATE", " n ", "\tF", "single", "+0", "+491234"]
    )
    | st.integers(-5, 400).map(str)
    | st.text("+0123456789 ", max_size=18)
    | st.text(max_size=6)
)


@pytest.mark.parametrize("target", FIELDS)
@given(cells=st.lists(CELLS, max_size=30))
@settings(max_examples=40, deadline=None)
def test_fields_are_those_of_plain_python(target: str, cells: list[str]) -> None:
    made = cast(cells, Column(target), kind=ImportType.PROFILE)
    assert made == [expected(target, cell) for cell in cells]


@pytest.mark.parametrize(
    ("address", "good"),
    [
        ("a@b.de", True),
        ("first.last+tag@mail.example.co.uk", True),
        (" a@b.de ", True),
        ("jürgen@example.com", True),
        ("a@b", False),
        ("a@b.c", False),
        ("a b@c.de", False),
        ("a@@c.de", False),
        ("a@-c.de", False),
        ("a@c.de, b@c.de", False),
        ("<a@c.de>", False),
        ("[a@c.de](mailto:a@c.de)", False),
        ("a@" + "x" * 64 + ".de", False),
        ("x" * 65 + "@c.de", False),
    ],
)
def test_a_mail_address_is_plausible(address: str, *, good: bool) -> None:
    expected_ = address.strip() if good else codes.BAD_EMAIL
    assert cast([address], Column("Email"), kind=ImportType.PROFILE) == [expected_]


def test_fields_have_their_types_without_a_word_in_the_manifest() -> None:
    source = frame(identity=["someone"], Age=["42"], MARRIED=["yes"], Employed=["0"], **{"msg-push": ["TRUE"]})
    accepted = mapped(source, {}, kind=ImportType.PROFILE).accepted
    assert accepted.select("Age", "Married", "Employed", "MSG-push").rows() == [(42, True, False, True)]


@pytest.mark.parametrize("asked", [DataType.STRING, DataType.BOOLEAN])
def test_a_yes_or_no_is_stored_as_one_type_whichever_was_asked(asked: DataType) -> None:
    registry = {"Married": DataType.BOOLEAN}
    made = mapped(
        frame(identity=["someone"], m=["Yes"]),
        {"m": Column("Married", asked)},
        kind=ImportType.PROFILE,
        registry=registry,
    )
    assert made.accepted["Married"].to_list() == [True]


def test_every_consent_flag_is_a_boolean() -> None:
    source = frame(identity=["someone"], **{flag.upper(): ["1"] for flag in CONSENT_FLAGS})
    accepted = mapped(source, {}, kind=ImportType.PROFILE).accepted
    assert accepted.select(CONSENT_FLAGS).rows() == [(True,) * len(CONSENT_FLAGS)]


def test_fields_of_an_event_are_plain_strings() -> None:
    source = frame(identity=["someone"], Age=["old"], Married=["perhaps"], **{"MSG-sms": ["x"]})
    assert mapped(source, {}).accepted.select("Age", "Married", "MSG-sms").rows() == [("old", "perhaps", "x")]
