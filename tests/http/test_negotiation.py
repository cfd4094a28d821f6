"""The table of outcomes as such: pure, and whole."""

from __future__ import annotations

from itertools import product

import pytest

from ingest.http.negotiation import MEDIA_TYPE, OUTCOMES, Asked, BodyKind, asked_by, kind_of, must_open
from ingest.http.problems import Problem
from ingest.ledger.api_access import HpkeRules
from keystore.hpke import Kem
from keystore.tink_keyset import OutputPrefix, PrivateKeyset

BOOLS = (False, True)


def asked(*headers: tuple[bytes, bytes]) -> Asked:
    return asked_by(headers)


@pytest.mark.parametrize(
    ("name", "value", "sealed_body", "sealed_answer"),
    [
        (b"content-type", b"application/octet-stream+hpke", True, False),
        (b"content-type", b"Application/Octet-Stream+HPKE ; x=y", True, False),
        (b"content-type", b"application/octet-stream", False, False),
        (b"content-type", b"application/json; a=application/octet-stream+hpke", False, False),
        (b"accept", b"application/octet-stream+hpke", False, True),
        (b"accept", b"application/json;q=0.5, application/octet-stream+hpke;q=0.9", False, True),
        (b"accept", b"application/octet-stream+hpke;q=0, application/json", False, False),
        (b"accept", b"application/octet-stream+hpke;q=0.000", False, False),
        (b"accept", b"*/*", False, False),
        (b"accept", b"application/*", False, False),
    ],
)
def test_headers_ask_by_their_media_type(name: bytes, value: bytes, sealed_body: bool, sealed_answer: bool) -> None:
    assert asked((name, value)) == Asked(sealed_body, sealed_answer)


def test_several_accept_headers_are_one_list() -> None:
    assert asked((b"accept", b"application/json"), (b"accept", MEDIA_TYPE.encode())).sealed_answer


@pytest.mark.parametrize("kem", Kem)
@pytest.mark.parametrize("prefix", [OutputPrefix.TINK, OutputPrefix.RAW])
def test_what_is_encrypted_is_never_taken_for_text(kem: Kem, prefix: OutputPrefix) -> None:
    public = PrivateKeyset.generate(kem, prefix).public()
    assert {kind_of(public.seal(b"", "acme")) for _ in range(200)} == {BodyKind.BINARY}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", BodyKind.NONE),
        (b'{"d": []}\r\n\t', BodyKind.TEXT),
        ('{"d": "\u00fc \U0001f600"}'.encode(), BodyKind.TEXT),
        (b"not JSON at all", BodyKind.TEXT),
        (bytes(64), BodyKind.BINARY),
        (b"\x01abc", BodyKind.BINARY),
        (b"\x1f\x8b\x08", BodyKind.BINARY),
        ("\u00fc".encode("latin-1"), BodyKind.BINARY),
    ],
)
def test_kind_of_a_body_is_told_without_a_key(body: bytes, kind: BodyKind) -> None:
    assert kind_of(body) is kind


@pytest.mark.parametrize(("enforced", "enabled", "entitled"), list(product(BOOLS, repeat=3)))
def test_nothing_plain_passes_where_it_is_not_meant_to(enforced: bool, enabled: bool, entitled: bool) -> None:
    """FAULTS H6: every combination of headers, body, method and rules."""
    rules = HpkeRules(enabled=enabled, entitled=entitled, enforced=enforced)
    for sealed_body, sealed_answer, kind, has_body in product(BOOLS, BOOLS, BodyKind, BOOLS):
        one = Asked(sealed_body, sealed_answer)
        try:
            opens = must_open(one, rules, kind, has_body=has_body, enforced=enforced)
        except Problem:
            continue
        assert not sealed_answer or rules.works  # else an answer that was asked for encrypted would come plain
        assert kind is not BodyKind.BINARY or (opens and sealed_body and rules.works)
        assert not opens or kind is BodyKind.BINARY
        if enforced:
            assert sealed_answer
            assert opens or (kind is BodyKind.NONE and not has_body)


def test_table_is_total() -> None:
    assert OUTCOMES.keys() == set(product(BOOLS, repeat=3))
