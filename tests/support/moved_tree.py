"""A tree to migrate: files of many forms, and a plan for them that is made by hand, as its runner takes it."""

import re
import subprocess
from pathlib import Path

from netra_apex.migrate.edits import Edit, FileEdits, Plan, Unit, digest

OLD, NEW = b"OldEngine", b"UserEngine"


def everything(root):
    """Every file of a tree with its bytes and its mode, the journal's own left out."""
    return {
        path.relative_to(root).as_posix(): (path.read_bytes(), path.stat().st_mode, path.is_symlink())
        for path in sorted(root.rglob("*"))
        if path.is_file() and not {".netra_migrate", ".git", "__pycache__"} & set(path.relative_to(root).parts)
    }


def moved(root, path):
    """A file's edits: every OldEngine becomes a UserEngine."""
    data = (root / path).read_bytes()
    return FileEdits(
        path=path,
        encoding="utf-8",
        before_sha=digest(data),
        after_sha=digest(data.replace(OLD, NEW)),
        edits=tuple(
            Edit(
                start=found.start(),
                end=found.end(),
                line=data[: found.start()].count(b"\n") + 1,
                before=OLD.decode(),
                after=NEW.decode(),
                kind="name",
                proof="it is said so",
            )
            for found in re.finditer(OLD, data)
        ),
    )


def plan_of(root, *groups, phase="all"):
    """A plan of units, each a path or several."""
    units = []
    for group in groups:
        paths = (group,) if isinstance(group, str) else group
        units.append(Unit(ident=paths[0], phase=phase, files=tuple(moved(root, path) for path in paths)))
    return Plan(units=tuple(units))


def write(root, files):
    """Writes files, text or bytes, with the folders that they need."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


def git(root, *words):
    """What git says."""
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    done = subprocess.run(["git", "-C", str(root), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout


def in_git(root):
    """Makes a tree a git work tree with all of it committed."""
    git(root, "init", "--quiet")
    git(root, "config", "user.name", "Ada")
    git(root, "config", "user.email", "ada@example.org")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "First")


def script(folder: Path, name: str, text: str) -> str:
    """A validation command that runs Python text; `{files}` come in `sys.argv[1:]`."""
    import sys

    path = folder / name
    path.write_text(text)
    return f"{sys.executable} {path} {{files}}"
