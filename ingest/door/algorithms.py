"""The SSH algorithms that the door offers, in the order of preference.

The library's own defaults still hold SHA-1, CBC and small groups; a list of ours changes only by a change here. What
is left out and why: ``chacha20-poly1305`` costs four library calls a packet here, a quarter of the speed, and is the
cipher of the Terrapin attack (FAULTS.md S9), so it is offered only where the settings say so; CBC with
encrypt-then-MAC is the other; everything with SHA-1; compression, which lets a small packet grow to hundreds of
megabytes (S5).
"""

from __future__ import annotations

from collections.abc import Sequence

from asyncssh.kex import get_kex_algs

_KEY_EXCHANGES = (
    "mlkem768x25519-sha256",  # post-quantum hybrid; only there when the installed crypto library has ML-KEM
    "sntrup761x25519-sha512@openssh.com",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
)

KEY_EXCHANGES = tuple(name for name in _KEY_EXCHANGES if name.encode() in set(get_kex_algs()))
_GCM = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
_CTR = ("aes256-ctr", "aes128-ctr")
CIPHERS = _GCM + _CTR
CHACHA20 = "chacha20-poly1305@openssh.com"
MACS = (  # for the two CTR ciphers
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",  # libssh2 before 1.11, so curl on systems of 2023, and JSch know no other
    "hmac-sha2-512",
)
COMPRESSIONS = ("none",)
SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


def preferred_ciphers(ours: Sequence[bytes], clients: Sequence[bytes]) -> list[bytes]:
    """Of our ciphers those of the best kind that the client has as well; all of ours when it has none of them."""
    for kind in (_GCM, _CTR, (CHACHA20,)):
        names = [name for name in ours if name.decode() in kind]
        if set(names) & set(clients):
            return names
    return list(ours)
