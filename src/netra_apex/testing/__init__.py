"""The public test kit: a model that says what a test wrote down, and a runtime to run agents in."""

from netra_apex.testing.harness import Harness, Outcome, harness
from netra_apex.testing.scripted import ScriptedModel, calls

__all__ = ["Harness", "Outcome", "ScriptedModel", "calls", "harness"]
