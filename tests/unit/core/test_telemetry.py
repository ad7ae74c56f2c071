"""Telemetry where nobody is told."""

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.telemetry import Called, Telemetry
from netra_apex.testing import ScriptedModel


def test_who_is_nobody_is_told_nothing_and_changes_nothing():
    context, nobody = UserExecutionContext.new("ada"), Telemetry()
    model = ScriptedModel([])

    def found(_: str | None) -> ScriptedModel:
        return model

    assert nobody.here() is None
    assert nobody.models(found) is found
    with (
        nobody.agent(context, "assistant", "hello") as run,
        nobody.call(context, Called("lookup", "call_1", {})) as call,
    ):
        run.left("waiting")
        call.ended("error")
        assert run.trace is call.trace is None
