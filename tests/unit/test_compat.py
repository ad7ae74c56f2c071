"""The door for old callers: it goes through `for_user`, invents nobody, warns where the call is, and counts."""

import importlib
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.support.bounded import run

from netra_apex import AgentRegistry, BaseAgent, RunScope, Runtime, Settings, UserExecutionContext, UserExecutionEngine
from netra_apex.errors import ConfigurationError, InvalidContext, QueueFull, ScopeClosed


class Greeter(BaseAgent):
    name = "greeter"

    async def run(self, task: str, scope: RunScope) -> str:
        return f"Hello {scope.context.user_id}: {task}"


class Held(BaseAgent):
    """Runs until it is cancelled, and looks for a way in for another engine of its user meanwhile."""

    name = "held"

    async def run(self, task: str, scope: RunScope) -> str:
        second = UserExecutionEngine.from_registry(REGISTRY, None, UserExecutionContext.new(scope.context.user_id))
        try:
            await second.run("greeter", "again")
        except QueueFull:
            return "full"
        return "there was room"


REGISTRY = AgentRegistry([Greeter, Held])


@pytest.fixture
def compat(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The module, imported as where NETRA_COMPAT=warn is set."""
    monkeypatch.setenv("NETRA_COMPAT", "warn")
    sys.modules.pop("netra_apex.compat", None)
    yield importlib.import_module("netra_apex.compat")
    sys.modules.pop("netra_apex.compat", None)


def settings(home: Path, **given: object) -> Settings:
    return Settings.load(home=home, **given)


def test_an_engine_from_a_registry_runs_in_the_runtime_that_serves_it(tmp_path: Path) -> None:
    async def main() -> None:
        context = UserExecutionContext.new("ada")
        async with Runtime(REGISTRY, settings(tmp_path)) as runtime:
            engine = UserExecutionEngine.from_registry(REGISTRY, object(), context)
            assert isinstance(engine, UserExecutionEngine)
            assert (await engine.run("greeter", "hi")).output == "Hello ada: hi"
            stored = await runtime.stores.runs.run("ada", context.run_id)
            assert stored is not None
            assert stored.status == "completed"
            with pytest.raises(ScopeClosed):
                await engine.run("greeter", "twice")

    run(main())


def test_it_takes_a_place_among_its_users_runs_and_gives_it_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with Runtime(REGISTRY, settings(tmp_path, runs_per_user=1)):
            for _ in range(2):
                never_run = UserExecutionEngine.from_registry(REGISTRY, None, UserExecutionContext.new("ada"))
                held = UserExecutionEngine.from_registry(REGISTRY, None, UserExecutionContext.new("ada"))
                assert (await held.run("held", "x")).output == "full"
                assert not never_run.waits

    run(main())


def test_one_that_is_cancelled_before_it_runs_ends_as_cancelled(tmp_path: Path) -> None:
    async def main() -> None:
        async with Runtime(REGISTRY, settings(tmp_path)):
            engine = UserExecutionEngine.from_registry(REGISTRY, None, UserExecutionContext.new("ada"))
            engine.cancel("user")
            result = await engine.run("greeter", "hi")
            assert result.error is not None
            assert result.error.code == "cancelled"

    run(main())


def test_without_a_user_nobody_is_made_up(tmp_path: Path, compat: ModuleType) -> None:
    async def main() -> None:
        async with Runtime(REGISTRY, settings(tmp_path, compat="warn")):
            with pytest.raises(InvalidContext, match="never made up"):
                UserExecutionEngine.from_registry(REGISTRY, None, None)  # type: ignore[arg-type]
            with (
                pytest.warns(DeprecationWarning, match="from_registry"),
                pytest.raises(InvalidContext, match="never made up"),
            ):
                compat.ExecutionEngine(REGISTRY, None)

    run(main())


def test_no_runtime_or_two_of_them_are_refused_with_a_sentence(tmp_path: Path) -> None:
    context = UserExecutionContext.new("ada")

    async def main() -> None:
        with pytest.raises(ConfigurationError, match="no runtime runs"):
            UserExecutionEngine.from_registry(REGISTRY, None, context)
        one, two = settings(tmp_path / "1"), settings(tmp_path / "2")
        async with Runtime(REGISTRY, one):
            async with Runtime(REGISTRY, two):
                with pytest.raises(ConfigurationError, match="2 runtimes"):
                    UserExecutionEngine.from_registry(REGISTRY, None, context)
            assert (await UserExecutionEngine.from_registry(REGISTRY, None, context).run("greeter", "hi")).ok
        with pytest.raises(ConfigurationError, match="no runtime runs"):
            UserExecutionEngine.from_registry(REGISTRY, None, context)

    run(main())


def test_the_old_name_works_warns_at_the_call_and_counts(tmp_path: Path, compat: ModuleType) -> None:
    async def main() -> None:
        async with Runtime(REGISTRY, settings(tmp_path, compat="warn")) as runtime:
            assert (await runtime.house.metrics())["compat_uses_total"] == {"ExecutionEngine": 0}
            with warnings.catch_warnings(record=True) as seen:
                warnings.simplefilter("always")
                engine = compat.ExecutionEngine(REGISTRY, None, UserExecutionContext.new("ada"))
            (told,) = [each for each in seen if each.category is DeprecationWarning]
            assert told.filename == __file__
            assert "from_registry" in str(told.message)
            assert (await engine.run("greeter", "hi")).output == "Hello ada: hi"
            assert (await runtime.house.metrics())["compat_uses_total"] == {"ExecutionEngine": 1}

    run(main())


@pytest.mark.parametrize("mode", ["error", "off"])
def test_a_runtime_that_refuses_the_old_name_counts_it_all_the_same(
    tmp_path: Path, compat: ModuleType, mode: str
) -> None:
    async def main() -> None:
        async with Runtime(REGISTRY, settings(tmp_path, compat=mode)) as runtime:
            with pytest.raises(ConfigurationError, match="from_registry"):
                compat.ExecutionEngine(REGISTRY, None, UserExecutionContext.new("ada"))
            assert (await runtime.house.metrics())["compat_uses_total"] == {"ExecutionEngine": 1}

    run(main())


def test_left_off_importing_it_raises_and_says_what_to_do(tmp_path: Path) -> None:
    asked = [sys.executable, "-c", "import netra_apex.compat"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 1
    assert "ImportError: netra_apex.compat is off; NETRA_COMPAT=warn" in done.stderr
