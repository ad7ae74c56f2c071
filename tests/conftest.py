"""What every test may use."""

import os
from collections.abc import Iterator

import pytest

from netra_apex.logs import use_standard_logging
from tests.support.postgres import postgres
from tests.support.wire_model import WireModel

__all__ = ["postgres"]


def pytest_configure() -> None:
    """What is set for a server of the developer's own, or to reach the world, is not set for those of the tests."""
    for name in list(os.environ):
        if name.startswith(("NETRA_", "OPENAI_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    # `capture_logs` leaves structlog's own defaults behind where nothing was set up before it: tracebacks with the
    # variables of every frame, which take seconds.
    use_standard_logging()


@pytest.fixture(scope="session")
def wire() -> Iterator[WireModel]:
    """A model in a process of its own, one for all tests of this process."""
    with WireModel() as wire:
        yield wire
