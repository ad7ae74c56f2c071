"""Which files there are: what git lists, else what the folders hold."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from netra_apex.errors import ConfigurationError
from netra_apex.migrate.globs import Globs

_SKIPPED_WORDS = """
    .git .hg .svn .tox .nox .venv venv node_modules __pycache__ .mypy_cache .ruff_cache .pytest_cache .eggs
    .netra_audit .netra_migrate
"""
_SKIPPED = frozenset(_SKIPPED_WORDS.split())
_SECONDS = 60.0  # for git to answer


@dataclass(frozen=True, slots=True)
class Scan:
    """The Python files of a folder, sorted, and the stubs and compiled modules beside them; paths are relative."""

    files: tuple[str, ...]
    others: tuple[str, ...]


def scan(folder: Path, exclude: tuple[str, ...] = ()) -> Scan:
    """What a folder holds.

    Git knows what is generated and what is not. A folder that it does not know, or ignores, is read itself.
    """
    listed = _tracked(folder)
    found = list(_walked(folder, "")) if listed is None else listed
    globs = Globs(exclude)
    kept = sorted({path for path in found if not globs.matches(path)})
    return Scan(
        tuple(path for path in kept if path.endswith(".py")),
        tuple(path for path in kept if path.endswith((".pyi", ".so", ".pyd", ".pyx"))),
    )


def _tracked(folder: Path) -> list[str] | None:
    command = ["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "."]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603 - our own words
    except (OSError, subprocess.TimeoutExpired):
        return None
    names = [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    if done.returncode != 0 or not names:
        return None
    found: list[str] = []
    for name in names:
        if name.endswith((".py", ".pyi", ".so", ".pyd", ".pyx")):
            found.append(name)
        elif "." not in name.rpartition("/")[2] and (folder / name).is_dir():
            found += _walked(folder / name, name.rstrip("/") + "/")  # a repository within
    return found


def _walked(folder: Path, prefix: str) -> Iterator[str]:
    waiting = [(str(folder), prefix)]
    while waiting:
        place, name = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except OSError:
            continue
        if name and any(entry.name == "pyvenv.cfg" for entry in entries):
            continue
        for entry in entries:
            # A linked folder is not followed: it may lead back here.
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED:
                    waiting.append((entry.path, f"{name}{entry.name}/"))
            elif entry.name.endswith((".py", ".pyi", ".so", ".pyd", ".pyx")):
                yield name + entry.name


def changed(folder: Path, since: str) -> frozenset[str]:
    """The Python files that differ from a git revision, those that git does not track included; relative to the folder.

    Raises:
        ConfigurationError: git does not know the revision, or the folder.
    """
    found: set[str] = set()
    revision = _git(folder, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{since}^{{commit}}").strip()
    for words in (
        ("diff", "--name-only", "-z", "--relative", revision.decode(), "--", "."),
        ("ls-files", "-z", "--others", "--exclude-standard", "--", "."),
    ):
        found |= {os.fsdecode(name) for name in _git(folder, *words).split(b"\0") if name.endswith(b".py")}
    return frozenset(found)


def _git(folder: Path, *words: str) -> bytes:
    try:
        done = subprocess.run(("git", "-C", str(folder), *words), capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603, S607 - our own words
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"git cannot be asked: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip() or "no such revision"
        raise ConfigurationError(f"git {words[0]} {words[-1]}: {said}")
    return done.stdout
