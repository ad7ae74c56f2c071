"""What is asked of git: which files have changes, and commits of exactly the files that were moved. No checkout."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from netra_apex.migrate.faults import GitFailed, WorkTreeDirty

# A command line has an end; paths go through in portions.
_PORTION = 500


def refuse_dirty(root: Path, paths: Sequence[str]) -> None:
    """Nothing, where the tree is no git work tree or none of the files has changes that are not committed.

    Raises:
        WorkTreeDirty: some have.
    """
    if not is_work_tree(root):
        return
    found: list[str] = []
    for at in range(0, len(paths), _PORTION):
        listed = _git(root, "status", "--porcelain", "-z", "--no-renames", "--", *_plain(paths[at : at + _PORTION]))
        found += [each[3:] for each in listed.split("\0") if each]
    if found:
        raise WorkTreeDirty(tuple(sorted(found)))


def is_work_tree(root: Path) -> bool:
    """Whether a folder is in a git work tree."""
    try:
        done = _run(root, "rev-parse", "--is-inside-work-tree")
    except FileNotFoundError:
        return False
    return done.returncode == 0 and done.stdout.strip() == b"true"


def commit(root: Path, paths: Sequence[str], message: str) -> bool:
    """Commits the files as they are, and nothing else that is staged; False where they are committed already.

    Raises:
        GitFailed: git refuses: a hook, no identity, a merge under way.
    """
    changed = _git(root, "status", "--porcelain", "-z", "--no-renames", "--", *_plain(paths))
    if not changed:
        return False
    _git(root, "commit", "--quiet", "--only", "-m", message, "--", *_plain(paths))
    return True


def _plain(paths: Sequence[str]) -> list[str]:
    # A path with a star in it is that path, not a pattern.
    return [f":(literal){path}" for path in paths]


def _git(root: Path, *words: str) -> str:
    done = _run(root, *words)
    if done.returncode:
        output = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        raise GitFailed(f"git {words[0]}", output)
    return done.stdout.decode("utf-8", "surrogateescape")


def _run(root: Path, *words: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(  # noqa: S603 - fixed words and paths of the tree
        ["git", "-C", str(root), *words],  # noqa: S607 - the git that the maintainer has
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
