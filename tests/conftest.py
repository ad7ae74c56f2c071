"""What every test may use."""

from collections.abc import Iterator

import pytest
from tests.support.wire_model import WireModel


@pytest.fixture(scope="session")
def wire() -> Iterator[WireModel]:
    """A model in a process of its own, one for all tests of this process."""
    with WireModel() as wire:
        yield wire
