"""`netra new`: a folder that works at once."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.command import environment, netra


def test_a_new_folder_has_an_application_whose_test_passes(tmp_path: Path) -> None:
    done = netra("new", "my-shop", cwd=tmp_path)
    assert (done.code, done.out, done.err) == (0, "", "made my-shop: next, cd my-shop && netra serve app.py\n")
    folder = tmp_path / "my-shop"
    made = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert made == [".env.example", ".gitignore", "README.md", "app.py", "pyproject.toml", "tests/test_app.py"]
    assert not any("PROJECT_NAME" in (folder / name).read_text() for name in made)
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"],
        cwd=folder,
        env=environment(tmp_path / "home"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_its_code_is_formatted_and_clean(tmp_path: Path) -> None:
    assert netra("new", "shop", cwd=tmp_path).code == 0
    ruff = Path(sys.executable).parent / "ruff"
    for command in (("format", "--check", "--isolated", "--line-length", "120"), ("check", "--isolated")):
        done = subprocess.run([ruff, *command, "shop"], cwd=tmp_path, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stdout


def test_a_folder_that_is_empty_is_taken(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert netra("new", "empty", cwd=tmp_path).code == 0


@pytest.mark.parametrize("name", ["full", "file", "a/b?", "..", "file/inside"])
def test_a_folder_that_holds_something_is_left_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    done = netra("new", name, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err
    assert sorted(tmp_path.rglob("*")) == before
