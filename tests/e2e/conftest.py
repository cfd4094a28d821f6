"""One served installation and one gpg home for all tests here; each test has an account of its own."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.customer import Customer, GpgHome, PgpPair
from tests.support.served import Instance, serving

NewCustomer = Callable[..., Customer]

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def gpg() -> Iterator[GpgHome]:
    with tempfile.TemporaryDirectory(prefix="sd-") as folder:  # a short path: gpg-agent's socket lies in it
        home = GpgHome(Path(folder))
        yield home
        home.close()


@pytest.fixture(scope="session")
def rsa(gpg: GpgHome) -> PgpPair:
    return gpg.pair("rsa", "rsa3072")


@pytest.fixture(scope="session")
def curve25519(gpg: GpgHome) -> PgpPair:
    return gpg.pair("curve25519", "cv25519")


@pytest.fixture(scope="session")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    with serving(tmp_path_factory.mktemp("served") / "installation") as served:
        yield served


@pytest.fixture
def new_customer(instance: Instance, gpg: GpgHome, curve25519: PgpPair, tmp_path: Path) -> NewCustomer:
    """Makes a customer of the served installation, with the Curve25519 pair unless another is given."""

    def make(pair: PgpPair = curve25519, served: Instance = instance) -> Customer:
        number = next(_numbers)
        return Customer(served, f"customer{number}", tmp_path / f"customer{number}", gpg, pair)

    return make
