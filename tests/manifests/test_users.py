"""Who a row is about, against plain Python (CONTRACT.md 3, codes 523 and 526)."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st

from manifests import codes
from manifests.types import USER_COLUMNS
from manifests.users import FORBIDDEN_USERS
from tests.manifests.rows import frame, mapped

GUIDE = "undefined null na n/a 0 nil -1 infinity -infinity inf -inf nan -nan empty xxxxxx none"


def expected(cells: dict[str, str | None]) -> object:
    """The user columns of a row, or the code of its rejection."""
    users = {name: cell.strip(" \t") for name, cell in cells.items() if cell is not None and cell.strip(" \t")}
    if len(users) != 1:
        return codes.NO_USER
    ((name, user),) = users.items()
    if user.lower() in GUIDE.split() or len(user) > 1023:
        return codes.NO_USER
    if name == "objectId" and any(char.isspace() or unicodedata.category(char)[0] == "C" for char in user):
        return codes.BAD_OBJECT_ID
    return tuple(users.get(column) for column in USER_COLUMNS)


def test_forbidden_users_are_those_of_the_guide() -> None:
    assert list(FORBIDDEN_USERS) == GUIDE.split()


WORDS = st.sampled_from(
    [*GUIDE.split(), "NaN", "NULL", "u1", " u1 ", "\tNone", "x" * 1023, "ü" * 1024, "a b", "a\u200bc"]
)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cn"]), max_size=6)
ROW = st.fixed_dictionaries(dict.fromkeys(USER_COLUMNS, st.none() | st.none() | WORDS | TEXT))


@given(st.lists(ROW, min_size=1, max_size=30))
@settings(max_examples=150, deadline=None)
def test_users_are_those_of_plain_python(rows: list[dict[str, str | None]]) -> None:
    made = mapped(frame(**{name: [row[name] for row in rows] for name in USER_COLUMNS}), {})
    outcome: dict[int, object] = {row: tuple(user) for row, *user in made.accepted.select("_row", *USER_COLUMNS).rows()}
    outcome |= dict(zip(made.rejects["_row"], made.rejects["code"], strict=True))
    assert [outcome[number] for number in range(1, len(rows) + 1)] == [expected(row) for row in rows]
