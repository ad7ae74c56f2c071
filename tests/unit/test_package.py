"""The package: what it exports is exactly what it says, and importing it costs no server."""

import importlib
import subprocess
import sys

import pytest

import netra_apex
from netra_apex.tools import Tool

PUBLIC = set(netra_apex.__all__)  # which names these are: tests/architecture/test_exports.py


def python(source: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_everything_that_is_exported_can_be_imported_under_its_own_name() -> None:
    assert len(netra_apex.__all__) == len(PUBLIC)
    for name in netra_apex.__all__:
        exported = getattr(netra_apex, name)
        if isinstance(exported, Tool):
            assert exported.name == name
        else:
            assert name == "admin_tools" or exported.__name__ == name


def test_a_star_import_gives_exactly_the_public_names() -> None:
    names = python("before = set(dir()); from netra_apex import *; print(sorted(set(dir()) - before - {'before'}))")
    assert names == str(sorted(PUBLIC))


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'netra_apex' has no attribute 'Engine'"):
        netra_apex.Engine  # noqa: B018
    with pytest.raises(ImportError):
        from netra_apex import ToolDispatcher  # type: ignore[attr-defined]  # noqa: F401


def test_type_checkers_and_the_import_find_each_name_in_the_same_place() -> None:
    for name, home in netra_apex._HOME.items():
        assert getattr(importlib.import_module(home), name) is getattr(netra_apex, name)
    assert set(netra_apex._HOME) == PUBLIC


HEAVY = "['aiohttp', 'fastapi', 'mcp', 'pydantic_ai', 'starlette', 'uvicorn', 'uvloop', 'websockets']"


@pytest.mark.parametrize(
    ("source", "allowed"),
    [
        ("import netra_apex", []),
        ("from netra_apex import AgentRegistry, BaseAgent, ChatAgent, RunScope, UserExecutionContext, tool", []),
        ("from netra_apex import Settings, Runtime", ["aiohttp"]),
        ("from netra_apex.testing import harness, ScriptedModel", ["aiohttp"]),
    ],
)
def test_importing_what_a_program_needs_imports_no_server(source: str, allowed: list[str]) -> None:
    found = python(f"import sys; {source}; print([name for name in {HEAVY} if name in sys.modules])")
    assert [name for name in eval(found) if name not in allowed] == []
