"""Every way to write a point of low order of Curve25519 or its twist in 32 bytes (RFC 7748 §5, §6.1)."""

from __future__ import annotations

PRIME = 2**255 - 19
_ORDER_8 = (
    int.from_bytes(bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"), "little"),
    int.from_bytes(bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"), "little"),
)
# in their proper form: 0 (order 2 and 4), 1 and -1 (order 4), and two of order 8
CANONICAL = [number.to_bytes(32, "little") for number in (0, 1, PRIME - 1, *_ORDER_8)]
# the same beyond the prime, and with the top bit, which is masked when it is used
LOW_ORDER = [
    (number | top).to_bytes(32, "little")
    for number in (0, 1, PRIME - 1, *_ORDER_8, PRIME, PRIME + 1)
    for top in (0, 1 << 255)
]
