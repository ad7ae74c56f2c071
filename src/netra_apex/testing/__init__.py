"""The public test kit: a model that says what a test wrote down, a runtime to run agents in, and the leak test."""

from netra_apex.testing.harness import Harness, Outcome, harness
from netra_apex.testing.leaktest import Finding, LeakReport, leaktest
from netra_apex.testing.scripted import ScriptedModel, calls

__all__ = ["Finding", "Harness", "LeakReport", "Outcome", "ScriptedModel", "calls", "harness", "leaktest"]
