"""Messages that were made once, in both directions and with both prefixes: what opened then opens for ever."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from keystore.secret import Secret
from keystore.tink_keyset import PrivateKeyset
from tests.hpke import oracle

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "tink_messages.json").read_text())["vectors"]


def name(vector: dict[str, Any]) -> str:
    return f"{vector['direction']}-{vector['prefix']}-{vector['sealed_by']}"


@pytest.mark.parametrize("vector", VECTORS, ids=name)
def test_message_is_opened_by_us_and_by_tink_for_its_account_only(vector: dict[str, Any]) -> None:
    """FAULTS H1, H4."""
    private, sealed = json.dumps(vector["private_keyset"]).encode(), bytes.fromhex(vector["sealed"])
    ours, plain = PrivateKeyset.read(Secret(private)), vector["plain"].encode()
    opened = ours.opened(sealed, vector["account"])
    assert opened is not None
    assert opened[1] == oracle.opened(oracle.read_private(private), sealed, vector["account"]) == plain
    assert ours.opened(sealed, "globex") is None


def test_every_prefix_direction_and_sealer_is_among_them() -> None:
    assert len({(one["prefix"], one["direction"], one["sealed_by"]) for one in VECTORS}) == len(VECTORS) == 8
