"""The pytest plugin: a fixture and a marker with which an application's own tests prove that its agents leak nothing.

@pytest.mark.leaktest(users=50)
def test_my_agents_leak_nothing(leaktest):
    leaktest(registry)
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from netra_apex.agents import AgentRegistry
    from netra_apex.testing.leaktest import LeakReport


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line(
        "markers", "leaktest(users=10, seed=0, **settings): how the `leaktest` fixture plays a registry's agents."
    )


@pytest.fixture
def leaktest(request: pytest.FixtureRequest) -> "Callable[..., LeakReport]":
    """`leaktest(registry, users=10, seed=0)`: plays its agents with so many users, and fails the test with findings.

    What the marker says holds for each call that does not say otherwise. It runs a loop of its own: for plain tests.
    """
    # Here, not above: a session that uses none of this should not wait for all that a runtime is made of.
    from netra_apex.testing.leaktest import leaktest as play

    marker = request.node.get_closest_marker("leaktest")
    given: dict[str, Any] = dict(marker.kwargs) if marker is not None else {}

    def check(registry: "AgentRegistry", **more: Any) -> "LeakReport":
        report = play(registry, **(given | more))
        if not report.ok:
            pytest.fail(str(report), pytrace=False)
        return report

    return check
