"""The tutorial holds from the first audit to zero: its commands are run as they stand, in their order."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.architecture.reading import DOCS, ROOT, blocks, rows, sections

from netra_apex.migrate.edits import REASONS

PAGE = DOCS / "how-to" / "migrate-a-code-base.md"
# What ends with something else than 0, by the times that it is run.
CODES = {
    "netra audit --select D": [1, 0],
    "netra migrate plan": [1, 0],
    "netra migrate run": [1],
    "netra migrate status": [1],
}


@pytest.fixture
def shell(tmp_path):
    """Runs one line of the page, where the lines before it have led; gives what it printed."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, text in (("python", ""), ("netra", " -c 'from netra_apex.cli import main; main()'")):
        (bin_folder / name).write_text(f'#!/bin/sh\nexec {sys.executable}{text} "$@"\n')
        (bin_folder / name).chmod(0o755)
    places = [ROOT]
    env = os.environ | {
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }

    def run(line):
        if line.startswith("cd "):
            places.append(tmp_path / line.removeprefix("cd "))
            return ""
        line = line.replace(" sample", f" {tmp_path / 'sample'}") if places == [ROOT] else line
        done = subprocess.run(
            line, shell=True, cwd=places[-1], env=env, capture_output=True, text=True, timeout=100, check=False
        )
        wanted = codes[line].pop(0) if codes.get(line) else 0
        assert done.returncode == wanted, f"{line}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    codes = {line: list(each) for line, each in CODES.items()}
    return run


def test_the_tutorial_leads_from_the_first_audit_to_zero(shell, tmp_path):
    printed = {}
    for block in blocks(PAGE):
        if block.language == "sh":
            for line in block.text.splitlines():
                printed.setdefault(line, []).append(shell(line))
        elif block.mark.startswith("file: "):
            (tmp_path / "sample" / block.mark.removeprefix("file: ")).write_text(block.text)
        elif block.language == "text":
            shown = [line for line in block.text.splitlines() if line != "…"]
            assert set(shown) <= set(printed["netra migrate plan"][0].splitlines())
        elif block.language == "toml":
            assert block.text in (tmp_path / "sample" / "ssot.toml").read_text()
    assert "missing_argument" in printed["netra migrate plan"][0]
    orders = (tmp_path / "sample/shop/orders.py").read_text()
    assert "engine = UserEngine.from_registry(\n        registry,\n        bridge=None,  # nobody listens\n" in orders
    assert "# An OldEngine for each order" in orders
    assert re.search(r"<svg.*</svg>", (tmp_path / "sample/report.html").read_text())


def test_every_reason_is_explained_and_no_other():
    assert {row[0].strip("`") for row in rows(sections(PAGE)["Reasons"])} == set(REASONS)


def test_the_sample_is_written_where_it_is_asked_for(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "examples/migration_sample.py", tmp_path / "x"], capture_output=True, check=False
    )
    assert done.returncode == 0
    assert Path(tmp_path / "x/ssot.toml").exists()
