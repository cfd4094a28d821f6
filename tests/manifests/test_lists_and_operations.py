"""Lists of strings, and what the companion column of a property says about them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import codes
from manifests.model import Column
from manifests.types import DataType, ImportType
from tests.manifests.rows import cast, frame, mapped


def kept(values: list[str]) -> object:
    """What a plain reader stores of a list."""
    bare = list(dict.fromkeys(value.strip(" \t") for value in values if value.strip(" \t")))
    if len(bare) > 100:
        return codes.TOO_MANY_VALUES
    if any(len(value) > 512 for value in bare):
        return codes.TOO_LONG
    return bare or None


def python_json_list(cell: str) -> object:
    if not cell.strip(" \t"):
        return None
    try:
        values = json.loads(cell.strip(" \t"))
    except ValueError:
        return codes.WRONG_TYPE
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        return codes.WRONG_TYPE
    try:
        "".join(values).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return codes.WRONG_TYPE
    return kept(values)


WORDS = st.text('ab |;,\t"\\ü\U0001f600', max_size=6) | st.sampled_from(["", " ", "x" * 513, "ü" * 512])


@given(st.lists(st.lists(WORDS, max_size=8).map("|".join), max_size=20))
@settings(max_examples=100, deadline=None)
def test_separated_values_are_those_of_plain_python(cells: list[str]) -> None:
    column = Column(None, DataType.STRING_LIST, separator="|")
    assert cast(cells, column) == [kept(cell.split("|")) for cell in cells]


BROKEN = st.sampled_from(
    ['["a",]', '["a" "b"]', '["\\ud800"]', '["\\uDC00\\ud83d"]', '["\\ud83d\\ude00"]', "[1]", "[null]", "{}", '"a"']
)


@given(
    st.lists(
        st.lists(WORDS, max_size=5).map(json.dumps)
        | st.lists(WORDS, max_size=5).map(lambda words: json.dumps(words, ensure_ascii=False, indent=1))
        | BROKEN
        | st.text('[]"\\ab, \n\tu08d', max_size=10),
        max_size=20,
    )
)
@settings(max_examples=150, deadline=None)
def test_json_arrays_are_those_of_plain_python(cells: list[str]) -> None:
    assert cast(cells, Column(None, DataType.STRING_LIST)) == [python_json_list(cell) for cell in cells]


def test_a_list_has_a_limit_of_values() -> None:
    column = Column(None, DataType.STRING_LIST, separator=";")
    cells = [";".join(map(str, range(number))) for number in (100, 101)]
    assert cast(cells, column) == [[str(each) for each in range(100)], codes.TOO_MANY_VALUES]


TAGS = {"tags": Column(None, DataType.STRING_LIST, separator="|")}


def test_operations_are_stored_beside_their_values() -> None:
    source = frame(
        identity=["someone"] * 7,
        tags=["a|b", "c", "a", "not|counted", None, "x", None],
        **{"tags.operation": [None, " $ADD ", "$remove", "$delete", "$add", "$set", "$Delete"]},
    )
    made = mapped(source, TAGS, kind=ImportType.PROFILE)
    assert made.rejects.is_empty()
    assert made.accepted.select("tags", "tags$operation").rows() == [
        (["a", "b"], None),
        (["c"], "$add"),
        (["a"], "$remove"),
        (None, "$delete"),
        (None, None),
        (["x"], None),
        (None, "$delete"),
    ]


@pytest.mark.parametrize(
    ("operation", "column", "code"),
    [
        ("$incr", TAGS["tags"], codes.BAD_OPERATION),
        ("add", TAGS["tags"], codes.BAD_OPERATION),
        ("$add", Column(), codes.BAD_OPERATION),
        ("$remove", Column(None, DataType.INTEGER), codes.BAD_OPERATION),
        ("$delete", Column(None, DataType.INTEGER), None),
        ("$set", Column(None, DataType.INTEGER), None),
    ],
)
def test_an_operation_fits_its_column(operation: str, column: Column, code: int | None) -> None:
    source = frame(identity=["someone"], tags=["1"], **{"tags.operation": [operation]})
    rejects = mapped(source, {"tags": column}, kind=ImportType.PROFILE).rejects
    assert rejects.select("column", "code").rows() == ([("tags.operation", code)] if code else [])


def test_a_value_that_is_to_be_deleted_is_not_looked_at() -> None:
    source = frame(identity=["someone"], Email=["nonsense"], **{"Email.operation": ["$delete"]})
    made = mapped(source, {}, kind=ImportType.PROFILE)
    assert made.accepted.select("Email", "Email$operation").rows() == [(None, "$delete")]
