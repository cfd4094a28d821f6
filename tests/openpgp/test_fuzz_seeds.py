"""The rules of fuzz/ hold for what the fuzzers begin with, and notice what breaks them."""

from __future__ import annotations

import pytest

from fuzz import rules
from fuzz.pair import Pair, seeds
from tests.openpgp import certificate_writer
from tests.openpgp.signature_writer import key


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp("fuzz"))


def test_every_seed_keeps_its_rule(pair: Pair) -> None:
    wanted: dict[str, rules.Rule] = {
        "armor": rules.armor,
        "envelope": rules.envelope,
        "stream": rules.Stream(pair),
        "certificate": rules.Certificates(),
    }
    good = seeds(pair)
    assert good.keys() == wanted.keys()
    for name, rule in wanted.items():
        for data in good[name]:
            rule(data)


def test_a_certificate_that_nobody_knows_is_noticed() -> None:
    with pytest.raises(rules.Broken, match="a key signs"):
        rules.Certificates()(certificate_writer.certificate(key("Ed25519", seed=99)))
