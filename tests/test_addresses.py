"""Lists of addresses, as OpenSSH has them in ``from=``."""

from __future__ import annotations

import pytest

from ingest.addresses import AddressesInvalid, read_addresses


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.70", "192.0.2.8"]),
        ("192.0.2.0/24", ["192.0.2.0", "192.0.2.255"], ["192.0.3.0", "2001:db8::1"]),
        ("192.0.2.*", ["192.0.2.1", "192.0.2.255"], ["192.0.20.1"]),
        ("192.0.2.?", ["192.0.2.7"], ["192.0.2.70"]),
        ("2001:db8::/32", ["2001:db8::1", "2001:db8:ffff::9%eth0"], ["2001:db9::1", "192.0.2.1"]),
        ("2001:DB8:0:0::1", ["2001:db8::1"], ["2001:db8::2"]),
        ("!192.0.2.7,192.0.2.0/24", ["192.0.2.8"], ["192.0.2.7"]),
        ("192.0.2.0/24, !192.0.2.7", ["192.0.2.8"], ["192.0.2.7"]),
        ("*,!10.0.0.0/8", ["192.0.2.8", "2001:db8::1"], ["10.1.2.3"]),
        ("", [], ["192.0.2.1", "", "unix", "client.example.com"]),
        ("*", ["192.0.2.1"], ["", "unix", "client.example.com"]),
    ],
)
def test_list_matches_as_sshd_does(text: str, inside: list[str], outside: list[str]) -> None:
    addresses = read_addresses(text)
    assert [address for address in inside + outside if addresses.matches(address)] == inside


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("client.example.com", "names of hosts are not looked up"),
        ("192.0.2.7/24", "host bits set"),
        ("192.0.2.0/33", "no network"),
        ("192.0.2", "no address"),
        ("192.0.2.300", "no address"),
        ("192.0.2.7,,", "no address"),
        ("[0-9].*", "no address"),
        ("!192.0.2.7", "only refuses"),
        ("1," * 3000, "at most 4096 characters"),
    ],
)
def test_list_that_cannot_be_meant_is_refused_with_its_pattern(text: str, said: str) -> None:
    with pytest.raises(AddressesInvalid, match=said):
        read_addresses(text)
