"""EAX: what its paper and RFC 9580 print, and what must not open (RFC 9580 §5.13.2, §9.6)."""

from __future__ import annotations

import base64

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from keystore.openpgp import packets
from keystore.openpgp.aead import opened_seipd2, read_head
from keystore.openpgp.eax import AesEax
from keystore.openpgp.packets import Feed
from keystore.openpgp.session_key import SessionKey
from tests.openpgp.packet_writer import eax_encrypted

# Bellare, Rogaway, Wagner: The EAX Mode of Operation, appendix G: text, key, nonce, header, cipher text
PAPER = [
    (
        "",
        "233952DEE4D5ED5F9B9C6D6FF80FF478",
        "62EC67F9C3A4A407FCB2A8C49031A8B3",
        "6BFB914FD07EAE6B",
        "E037830E8389F27B025A2D6527E79D01",
    ),
    (
        "F7FB",
        "91945D3F4DCBEE0BF45EF52255F095A4",
        "BECAF043B0A23D843194BA972C66DEBD",
        "FA3BFD4806EB53FA",
        "19DD5C4C9331049D0BDAB0277408F67967E5",
    ),
    (
        "1A47CB4933",
        "01F74AD64077F2E704C0F60ADA3DD523",
        "70C3DB4F0D26368400A10ED05D2BFF5E",
        "234A3463C1264AC6",
        "D851D5BAE03A59F238A23E39199DC9266626C40F80",
    ),
]


@pytest.mark.parametrize(("text", "key", "nonce", "header", "cipher"), PAPER)
def test_the_paper_s_vectors_open(text: str, key: str, nonce: str, header: str, cipher: str) -> None:
    eax = AesEax(bytes.fromhex(key))
    opened = eax.decrypt(bytes.fromhex(nonce), bytes.fromhex(cipher), bytes.fromhex(header))
    assert opened == bytes.fromhex(text)


def test_the_sample_of_rfc_9580_opens() -> None:
    """Appendix A.9; its session key is printed there, and the message is encrypted to a password, which we refuse."""
    body = base64.b64decode(
        "AgcBBp/5DjsyGWTzpCkTyNzGYZMlAVIn77fq6qSfBMLmdBddSj0ibtavy5yprBIsFHDhHGPUwKskHGqTitSL+ZpambkLuoMl3mEEdUAlireV"
        "mpWtBR3alusVQx3+9fXiJVyngmFUbjOa"
    )
    feed = Feed(iter([body[1:]]))
    head = read_head(feed)
    session = SessionKey(head.cipher, bytes.fromhex("3881bafe985412459b86c36f98cb9a5e"))
    inside = Feed(opened_seipd2(feed, head, session))
    literal = b"".join(packets.body(inside, packets.read_header(inside)))
    assert literal.endswith(b"Hello, world!")


@given(
    key=st.binary(min_size=16, max_size=16) | st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=16, max_size=16),
    header=st.binary(max_size=40),
    text=st.binary(max_size=80),
    at=st.integers(min_value=0),
)
def test_every_changed_octet_is_noticed(key: bytes, nonce: bytes, header: bytes, text: bytes, at: int) -> None:
    """FAULTS P6."""
    sealed = eax_encrypted(key, nonce, text, header)
    assert AesEax(key).decrypt(nonce, sealed, header) == text
    damaged = bytearray(sealed)
    damaged[at % len(damaged)] ^= 1
    for wrong in (
        (nonce, bytes(damaged), header),
        (nonce, sealed, header + b"x"),
        (bytes(15) + b"\x01", sealed, header),
    ):
        if wrong != (nonce, sealed, header):
            with pytest.raises(InvalidTag):
                AesEax(key).decrypt(*wrong)


def test_another_mode_of_the_same_key_does_not_open() -> None:
    sealed = AESGCM(bytes(16)).encrypt(bytes(16), b"text", b"")
    with pytest.raises(InvalidTag):
        AesEax(bytes(16)).decrypt(bytes(16), sealed, b"")
