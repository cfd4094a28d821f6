from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.openpgp.sender import Gpg
from tests.openpgp_differential.readers import KINDS, Readers


@pytest.fixture(scope="package")
def gpg() -> Iterator[Gpg]:
    sender = Gpg()
    # without AEAD, which gpg 2.3 and later would ask for, so that Sequoia reads what gpg sends
    (sender.home / "gpg.conf").write_text("default-preference-list S9 S8 S7 H10 H9 H8 Z2 Z3 Z1\n")
    for kind, (primary, subkey) in KINDS.items():
        sender.make_key(kind, primary, subkey)
    yield sender
    sender.close()


@pytest.fixture(scope="package")
def readers(gpg: Gpg) -> Readers:
    return Readers(gpg)
