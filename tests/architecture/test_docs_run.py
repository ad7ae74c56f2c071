"""The Python blocks that are marked `<!-- runnable -->` do run.

`runnable: home` needs a database in `.netra`; `runnable: server` a server at the address that the block names.
"""

import asyncio
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from tests.architecture.reading import DOCS, blocks, documents

from netra_apex import Settings
from netra_apex.server.passwords import hash_password
from netra_apex.stores import open_stores

PASSWORD = "correct horse battery"
MARKED = [block for path in documents() for block in blocks(path) if block.mark.startswith("runnable")]
NETRA = Path(sys.executable).parent / "netra"


def of_kind(mark):
    return pytest.mark.parametrize("block", [block for block in MARKED if block.mark == mark], ids=str)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(text, folder):
    path = folder / "documented.py"
    path.write_text(text, "utf-8")
    runpy.run_path(str(path), run_name="documented")


def add_ada(home):
    async def main():
        async with open_stores(Settings(home=home)) as stores:
            await stores.accounts.add_user("ada", hash_password(PASSWORD), frozenset())

    asyncio.run(main())


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server that serves the demo team, with the user that the documents name."""
    home = tmp_path_factory.mktemp("server")
    add_ada(home)
    process = subprocess.Popen(
        [NETRA, "serve", "--port", "0"], stdout=subprocess.PIPE, text=True, env=os.environ | {"NETRA_HOME": str(home)}
    )
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None
        yield found.group()
    finally:
        process.terminate()
        process.communicate(timeout=30)


def test_every_mark_is_one_that_is_known():
    assert {block.mark for block in MARKED} == {"runnable", "runnable: home", "runnable: server"}


@of_kind("runnable")
def test_a_block_that_is_marked_runs(block, folder):
    run(block.text, folder)


@of_kind("runnable: home")
def test_a_block_that_needs_a_home_runs_beside_one(block, folder):
    add_ada(Path(".netra"))
    run(block.text, folder)


@of_kind("runnable: server")
def test_a_block_that_needs_a_server_runs_against_one(block, folder, server, capsys):
    assert "http://127.0.0.1:8000" in block.text
    run(block.text.replace("http://127.0.0.1:8000", server), folder)
    assert "391" in capsys.readouterr().out


def test_the_tutorial_holds_from_the_new_folder_to_its_test(folder):
    given, more, listed, test = [each.text for each in blocks(DOCS / "start.md") if each.language == "python"]
    done = subprocess.run([NETRA, "new", "shop"], cwd=folder, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    app, tests = folder / "shop" / "app.py", folder / "shop" / "tests" / "test_app.py"
    assert app.read_text().partition('"""\n\n')[2] == given
    second = given.replace("class Assistant", f"{more}\n\nclass Assistant").replace("    tools = (lookup,)\n", listed)
    app.write_text(second)
    tests.write_text(f"{tests.read_text()}\n\n{test}")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder / "shop", capture_output=True, text=True, timeout=60, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
