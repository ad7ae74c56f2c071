from collections.abc import Iterator

import pytest
from tests.support.wire_model import WireModel


@pytest.fixture(scope="session")
def running_wire() -> Iterator[WireModel]:
    with WireModel() as wire:
        yield wire


@pytest.fixture
def wire(running_wire: WireModel) -> WireModel:
    running_wire.forget()
    return running_wire
