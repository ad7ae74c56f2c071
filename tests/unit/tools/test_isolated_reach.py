"""An isolated tool is found again by its process, whichever way its program was started."""

import json
import textwrap
from pathlib import Path

import pytest
from tests.unit.tools.processes import gone, program

APP = """
import os
from pydantic import BaseModel
from netra_apex import AgentRegistry, ChatAgent, tool

class Order(BaseModel):
    number: int

@tool(isolated=True)
def double(order: Order) -> Order:
    assert isinstance(order, Order)
    return Order(number=order.number * 2)

@tool(isolated=True)
def whose() -> int:
    return os.getpid()

class Shop(ChatAgent):
    name = "shop"
    instructions = "You sell."
    tools = (double, whose)

registry = AgentRegistry([Shop])
"""
# What follows calls both tools through a dispatcher, and says what came.
ASK = """
import asyncio, json, os
from tests.unit.tools.support import bench, hosting

async def ask(double, order, whose):
    async with hosting() as host:
        made = bench(double, whose, host=host)
        value = await made.dispatcher.call(double, order)
        (text,) = await made.ask(("double", '{"order": {"number": 4}}'))
        elsewhere = await made.dispatcher.call(whose) != os.getpid()
        print(json.dumps([type(value) is type(order), value.number, text, elsewhere]))
"""
SERVES = f"""
import sys
{ASK}
from netra_apex.cli.loading import load_registry
shop = load_registry(sys.argv[1]).create("shop")
double, whose = shop.tools
asyncio.run(ask(double, sys.modules[double.function.__module__].Order(number=21), whose))
"""
PROGRAM = f"""{APP}
{ASK}
if __name__ == "__main__":
    asyncio.run(ask(double, Order(number=21), whose))
"""
UNGUARDED = PROGRAM.replace('if __name__ == "__main__":', "if True:")


def said(*words: str | Path, cwd: Path) -> str:
    """What a program prints, within its bound."""
    process = program(*words, cwd=cwd)
    try:
        printed, errors = process.communicate(timeout=60)
    except BaseException:
        process.kill()
        process.communicate()
        raise
    assert gone(process.pid)
    assert process.returncode == 0, errors
    return printed


WAYS = {
    "a file": ("app.py", "app.py"),
    "a file elsewhere": ("shop/app.py", "shop/app.py"),
    "a file whose name another module has": ("uuid.py", "uuid.py"),
    "a module": ("shopping.py", "shopping:registry"),
    "a module of a package": ("shop/__init__.py", "shop:registry"),
    "a module in a package": ("shop/selling.py", "shop.selling:registry"),
}


@pytest.mark.parametrize("way", WAYS)
def test_an_application_is_found_as_netra_serve_has_loaded_it(tmp_path: Path, way: str) -> None:
    path, source = WAYS[way]
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_text(APP)
    # From elsewhere: beside it, a `uuid.py` would be everybody's.
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "serves.py").write_text(SERVES)
    assert json.loads(said("run/serves.py", source, cwd=tmp_path)) == [True, 42, '{"number":8}', True]


@pytest.mark.parametrize("words", [("program.py",), ("-m", "program"), ("./program",), ("-m", "whole")])
def test_a_program_of_one_file_is_found_too(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "whole").mkdir()
    for name in ("program.py", "program", "whole/__main__.py"):
        (tmp_path / name).write_text(PROGRAM)
    assert json.loads(said(*words, cwd=tmp_path)) == [True, 42, '{"number":8}', True]


def test_a_program_that_runs_when_it_is_imported_is_told_so_and_does_not_start_itself_again(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(UNGUARDED)
    process = program("program.py", cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "while a tool's process imported its module; put what runs under `if __name__" in errors


def test_a_tool_of_no_file_is_refused_when_it_is_defined(tmp_path: Path) -> None:
    process = program("-c", APP, cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert "double cannot be a tool: it is isolated, and no other process can import its module __main__" in errors


FAILS = (
    """
import os
if "SERVER" not in os.environ:
    raise RuntimeError("no licence")
"""
    + APP
)


def test_a_module_that_cannot_be_imported_again_fails_each_call_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(FAILS)
    (tmp_path / "serves.py").write_text("import os\nos.environ['SERVER'] = 'yes'\n" + SERVES)
    process = program("serves.py", "app.py", cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "CallFailed: RuntimeError: no licence" in errors


THERE = """@tool(isolated=True)
def double(order: Order) -> Order:
    assert isinstance(order, Order)
    return Order(number=order.number * 2)
"""
ELSEWHERE = f"""if "SERVER" in os.environ:
{textwrap.indent(THERE, "    ")}
else:
    double = whose = None
"""


def test_a_tool_that_is_not_there_in_its_process_is_a_failed_call(tmp_path: Path) -> None:
    assert THERE in APP
    (tmp_path / "app.py").write_text(
        APP.replace(THERE, ELSEWHERE).replace("(double, whose)", "(double or whose, whose)")
    )
    (tmp_path / "serves.py").write_text("import os\nos.environ['SERVER'] = 'yes'\n" + SERVES)
    process = program("serves.py", "app.py", cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert "CallFailed: ImportError: app has no double in a tool's process" in errors
