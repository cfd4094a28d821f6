from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.notices.recipients import choose_recipients, is_plain_address

CONTACTS = ("Ops@Example.com", "dpo@example.com")


@pytest.mark.parametrize(
    "address",
    [
        "ops@example.com",
        "o'brien+imports@sub.example.co.uk",
        "a_b-c.d@xn--bcher-kva.example",
        "root@localhost",
        "1@2.de",
    ],
)
def test_plain_address_is_accepted(address: str) -> None:
    assert is_plain_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "ops",
        "@example.com",
        "ops@",
        "a@x.com, b@y.com",
        "a@x.com;b@y.com",
        "a@x.com b@y.com",
        "a@b@c.com",
        "Group: a@x.com;",
        "Ops <ops@example.com>",
        "<ops@example.com>",
        '"ops"@example.com',
        '"a@x.com, b"@y.com',
        "ops(comment)@example.com",
        "ops@[192.0.2.1]",
        "ops@[IPv6:::1]",
        "ops@192.0.2.1",
        "ops@0x7f000001",
        "ops@münchen.example",
        "öps@example.com",
        "user%other.example@example.com",
        "other.example!user@example.com",
        "=?utf-8?q?x=0D=0ABcc:a=40b?=@example.com",
        "-oX@example.com",
        ".ops@example.com",
        "ops.@example.com",
        "o..ps@example.com",
        "ops@example..com",
        "ops@-example.com",
        "ops@example.com.",
        "ops@example.com\n",
        "ops@example.com\r\nBcc: eve@example.net",
        "ops\0@example.com",
        "a" * 65 + "@example.com",
        "ops@" + "a" * 64 + ".com",
        "ops@" + "a." * 126 + "com",
        "a" * 10_000 + "@example.com",
    ],
)
def test_address_that_is_not_plain_is_refused(address: str) -> None:
    """FAULTS M2: lists, groups, quotes, IP literals, IDN and 10 kB addresses."""
    assert not is_plain_address(address)


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("ab1.-_+'@ ,;:<>\"\\()[]%!=?\r\n\tü"), max_size=40))
def test_plain_address_has_one_at_and_no_other_meaning(text: str) -> None:
    """FAULTS M2: whatever is accepted is one address for every reader of it."""
    if is_plain_address(text):
        assert re.fullmatch(r"[A-Za-z0-9_+'.-]+@[A-Za-z0-9.-]+", text)


def test_contact_is_followed_in_any_letter_case() -> None:
    chosen = choose_recipients("ops@EXAMPLE.com", CONTACTS, ())
    assert chosen.addresses == ("Ops@Example.com",)
    assert chosen.note is None


def test_allowed_domain_is_followed() -> None:
    chosen = choose_recipients("anna@Shop.example", CONTACTS, ("shop.Example",))
    assert chosen.addresses == ("anna@Shop.example",)
    assert chosen.note is None


@pytest.mark.parametrize("stranger", ["eve@example.net", "eve@sub.shop.example", "eve@evilshop.example"])
def test_stranger_gets_no_mail_and_the_contacts_learn_why(stranger: str) -> None:
    """FAULTS M2: nobody may use us as a relay."""
    chosen = choose_recipients(stranger, CONTACTS, ("shop.example",))
    assert chosen.addresses == CONTACTS
    assert chosen.note is not None
    assert stranger in chosen.note


@pytest.mark.parametrize("address", ["ops@example.com, eve@example.net", "Ops <ops@example.com>", "x\r\nBcc: a@b"])
def test_address_that_is_not_plain_is_not_repeated(address: str) -> None:
    """FAULTS M2: one address per field; what is none does not get into a mail."""
    chosen = choose_recipients(address, CONTACTS, ("example.com", "example.net"))
    assert chosen.addresses == CONTACTS
    assert chosen.note is not None
    assert address not in chosen.note


def test_unread_manifest_is_told_to_the_contacts() -> None:
    chosen = choose_recipients(None, CONTACTS, ())
    assert chosen.addresses == CONTACTS
    assert chosen.note is not None


def test_nobody_is_mailed_without_contacts() -> None:
    assert choose_recipients("eve@example.net", (), ("example.com",)).addresses == ()


def test_contacts_are_mailed_once_each_and_only_when_plain() -> None:
    contacts = ("a@example.com", "A@example.com", "b@example.com, c@example.com")
    assert choose_recipients(None, contacts, ()).addresses == ("a@example.com",)
