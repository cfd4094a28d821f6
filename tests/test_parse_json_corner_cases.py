"""Corner cases of JSON after those of JSONTestSuite: y_ must be read, n_ must be refused, i_ is what we decided."""

from __future__ import annotations

import json

import pytest

from manifests.codes import BAD_JSON
from manifests.errors import DataMalformed
from tests.support.json_reading import read

Y_VALUES = {
    "zero": "0",
    "minus zero": "-0",
    "exponent": "1E22",
    "exponent plus": "1e+2",
    "fraction": "123.456e-789",
    "too large for a double": "1e999",
    "beyond 64 bits": "-123123123123123123123123123123",
    "many digits": "1" * 5000,
    "true": "true",
    "empty array": "[]",
    "empty object": "{}",
    "array with blanks": "[ 1 ,\t2 ]",
    "depth 64": "[" * 63 + "]" * 63,
    "many siblings": "[" + "[]," * 100 + "[]]",
    "brackets in a string": '["[{"]',
    "all escapes": r'"\"\\\/\b\f\n\r\t"',
    "escaped backslash at the end": r'"\\"',
    "backslash before u": r'"\\u0000\\ud800"',
    "surrogate pair": r'"\ud83d\ude00"',
    "escaped BMP": r'"\u00e9\uFFFF"',
    "noncharacter": '"\uffff"',
    "delete": '"\x7f"',
    "line separators": '"\u2028\u2029"',
    "object with the same key on two levels": '{"a":{"a":1}}',
}


@pytest.mark.parametrize("value", Y_VALUES.values(), ids=Y_VALUES.keys())
def test_good_values_are_read_exactly(value: str) -> None:
    """FAULTS D5: the y_ cases."""
    loaded = json.loads(value, parse_int=str, parse_float=str) if value[0] == '"' else value
    for data in (
        f'{{"a":{value}}}\n{{"b":1}}\n',
        f'[{{"a":{value}}},{{"b":1}}]',
        f'{{"d":[{{"a":{value} }},{{"b":1}}]}}',
    ):
        assert read(data)[1:] == ([(loaded, None, None), (None, "1", None)], [None, None])


N_VALUES = {
    "leading zero": "012",
    "plus": "+1",
    "no digits": "-",
    "point at the end": "1.",
    "point at the start": ".1",
    "exponent without digits": "1e",
    "hexadecimal": "0x1",
    "digits of another script": "١",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "word": "nope",
    "capitals": "True",
    "two values": "1 2",
    "nothing": "",
    "comma alone": ",",
    "single quotes": "'x'",
    "comment": "1/**/",
    "trailing comma in an array": "[1,]",
    "double comma": "[1,,2]",
    "colon in an array": '["a":1]',
    "key without value": '{"a"}',
    "number as key": "{1:1}",
    "trailing comma in an object": '{"a":1,}',
    "wrong closing bracket": '["a"}',
    "unknown escape": r'"\x"',
    "short escape": r'"\u00e"',
    "bad hexadecimal": r'"\u00g0"',
    "raw tab": '"\t"',
    "raw control": '"\x1f"',
    "NaN in an array": "[NaN]",
    "depth 65": "[" * 64 + "]" * 64,
    "depth 65 around a string": "[" * 64 + '"x"' + "]" * 64,
    "depth 100,000": "[" * 100_000 + "]" * 100_000,
    "lone high surrogate": r'"\ud800"',
    "lone low surrogate": r'"x\udc00"',
    "surrogates the wrong way round": r'"\udc00\ud800"',
    "lone surrogate in an array": r'["\ud800\ud800\udc00"]',
    "no-break space": "\u00a01",
}


@pytest.mark.parametrize("value", N_VALUES.values(), ids=N_VALUES.keys())
def test_bad_values_reject_their_record_only(value: str) -> None:
    """FAULTS D5: the n_ cases, and of the i_ cases those that are refused here."""
    data = f'{{"b":1}}\n{{"a":{value}}}\n{{"c":2}}\n'
    _, rows, faults = read(data)
    assert faults == [None, BAD_JSON, None]
    assert (rows[0], rows[2]) == ((None, "1", None), (None, None, "2"))


@pytest.mark.parametrize("value", [v for v in N_VALUES.values() if v.count("[") == v.count("]")])
def test_bad_values_in_an_array_reject_their_record_or_the_file(value: str) -> None:
    try:
        _, rows, faults = read(f'[{{"b":1}},{{"a":{value}}},{{"c":2}}]')
    except DataMalformed:
        return
    assert faults == [None, BAD_JSON, None]
    assert (rows[0], rows[2]) == ((None, "1", None), (None, None, "2"))
