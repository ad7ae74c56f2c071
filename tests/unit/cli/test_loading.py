"""Finding the application that `netra serve` was given, and telling what is wrong with it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.command import netra

from netra_apex.agents import AgentRegistry
from netra_apex.cli.loading import ApplicationBroken, load_registry
from netra_apex.errors import ConfigurationError

GOOD = """
from netra_apex import AgentRegistry, BaseAgent, RunScope
from sibling import GREETING

class Greeter(BaseAgent):
    name = "greeter"
    async def run(self, task: str, scope: RunScope) -> str:
        return GREETING

registry = AgentRegistry([Greeter], default="greeter")
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "sibling.py").write_text("GREETING = 'hello'\n")
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("source", ["my_app.py", "./my_app.py", "my_app.py:registry", "my_app:registry", "my_app"])
def test_an_application_is_a_file_or_a_module_with_a_registry(source: str, folder: Path) -> None:
    (folder / "my_app.py").write_text(GOOD)
    assert load_registry(source).names == ("greeter",)


def test_a_file_whose_name_is_a_known_module_is_loaded_as_itself(folder: Path) -> None:
    (folder / "json.py").write_text(GOOD)
    assert isinstance(load_registry("json.py"), AgentRegistry)


def test_without_an_application_the_demo_team_is_served() -> None:
    assert "assistant" in load_registry(None).names


def test_a_team_in_a_file_is_an_application() -> None:
    examples = Path(__file__).parents[3] / "examples"
    assert load_registry(str(examples / "product_team.toml")).names == ("product_team",)


@pytest.mark.parametrize(
    ("source", "text", "reason"),
    [
        ("none.py", None, "there is no file none.py"),
        ("no_module:registry", None, "there is no module 'no_module'"),
        ("no.module", None, "there is no module 'no.module'"),
        (".", None, "'.' names no application"),
        (":registry", None, "':registry' names no application"),
        ("plain.py", "x = 1", "plain.py has no registry: write registry = AgentRegistry"),
        ("plain.py:other", "x = 1", "plain.py has no other"),
        ("none.toml", None, "the plan 'none.toml' cannot be carried out: [Errno 2] No such file"),
        ("team.toml", "name = 1", "the plan 'team.toml' cannot be carried out: name: Input should be a valid string"),
        ("plain.py", "registry = 1", "registry of plain.py is int, not an AgentRegistry"),
    ],
)
def test_what_is_not_there_is_named(source: str, text: str | None, reason: str, folder: Path) -> None:
    if text is not None:
        (folder / source.partition(":")[0]).write_text(text)
    with pytest.raises(ConfigurationError) as refused:
        load_registry(source)
    assert str(refused.value).startswith(reason)


def test_an_error_in_the_file_shows_its_own_lines_and_no_others(folder: Path) -> None:
    (folder / "broken.py").write_text("import json\n\ndef read():\n    json.loads('{')\n\nread()\n")
    with pytest.raises(ApplicationBroken) as broken:
        load_registry("broken.py")
    said = str(broken.value)
    assert said.startswith("broken.py cannot be loaded: JSONDecodeError: Expecting")
    assert 'broken.py", line 6' in said
    assert 'broken.py", line 4, in read' in said
    assert "json/decoder" not in said
    assert "importlib" not in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n", "SyntaxError"),
        ("raise SystemExit('stop')\n", "SystemExit: stop"),
        ("import missing_package\n", "No module named 'missing_package'"),
        ("from netra_apex import AgentRegistry\nregistry = AgentRegistry([])\n", "it has no agents"),
    ],
)
def test_whatever_the_file_raises_is_told_with_its_line(text: str, said: str, folder: Path) -> None:
    (folder / "broken.py").write_text(text)
    with pytest.raises(ApplicationBroken) as broken:
        load_registry("broken.py")
    assert said in str(broken.value)
    assert 'broken.py", line' in str(broken.value)


def test_a_module_that_imports_what_is_missing_is_there_and_broken(folder: Path) -> None:
    (folder / "needs.py").write_text("import missing_package\n")
    with pytest.raises(ApplicationBroken, match="No module named 'missing_package'"):
        load_registry("needs:registry")


def test_serve_ends_with_2_and_the_sentence(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("1 / 0\n")
    done = netra("serve", "app.py", cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[0] == "app.py cannot be loaded: ZeroDivisionError: division by zero"
    assert "netra_apex" not in done.err
