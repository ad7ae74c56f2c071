"""Edits applied to bytes, and bytes written to files: whole or not at all, whenever the process is killed."""

import os
import stat
from pathlib import Path

from netra_apex.migrate.edits import FileEdits, digest
from netra_apex.migrate.faults import Conflict

# A file under way stands beside its target under this name, so that whoever takes up after a kill finds and removes it.
_UNDER_WAY = ".{}.netra-migrate"


def edited(data: bytes, file: FileEdits) -> bytes:
    """The bytes of a file after its edits; everything outside of them is what it was.

    Raises:
        Conflict: the bytes are not those that were planned for, or the edits do not give what was proven.
    """
    if digest(data) != file.before_sha:
        raise Conflict(file.path, "it was changed after it was planned")
    parts: list[bytes] = []
    at = 0
    for edit in file.edits:
        if edit.start < at or data[edit.start : edit.end] != edit.before.encode(file.encoding):
            raise Conflict(file.path, f"the edit of line {edit.line} does not fit: the plan was changed by hand")
        parts += (data[at : edit.start], edit.after.encode(file.encoding))
        at = edit.end
    result = b"".join((*parts, data[at:]))
    # The plan parsed exactly these bytes and compared their tree, so nothing has to be proven a second time.
    if digest(result) != file.after_sha:
        raise Conflict(file.path, "its edits do not give what was proven: the plan was changed by hand")
    return result


def target(root: Path, path: str) -> Path:
    """The file that a path of the tree leads to: a link is followed, never replaced.

    Raises:
        Conflict: it leads out of the tree, or nowhere.
    """
    try:
        found = (root / path).resolve(strict=True)
    except OSError as error:
        raise Conflict(path, f"it cannot be read: {error.strerror}") from error
    if not found.is_relative_to(root.resolve()):
        raise Conflict(path, "it leads out of the tree")
    return found


def current(root: Path, path: str) -> bytes:
    """What a file holds now.

    Raises:
        Conflict: it cannot be read.
    """
    try:
        return target(root, path).read_bytes()
    except OSError as error:
        raise Conflict(path, f"it cannot be read: {error.strerror}") from error


def replace(root: Path, path: str, data: bytes, *, expected: str) -> None:
    """Writes a file beside its target, makes it durable, and puts it in the target's place with the same mode.

    Raises:
        Conflict: the target does not hold the bytes whose digest is `expected`, or cannot be written.
    """
    place = target(root, path)
    under_way = place.with_name(_UNDER_WAY.format(place.name))
    try:
        before = place.stat()
        with under_way.open("wb") as file:
            file.write(data)
            file.flush()
            if os.geteuid() == 0:
                os.fchown(file.fileno(), before.st_uid, before.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            os.fsync(file.fileno())
        # Looked at as late as can be: an editor that saved meanwhile keeps what it saved.
        if digest(place.read_bytes()) != expected:
            raise Conflict(path, "it was changed meanwhile")
        under_way.replace(place)
    except OSError as error:
        raise Conflict(path, f"it cannot be written: {error.strerror}") from error
    finally:
        under_way.unlink(missing_ok=True)
    _sync(place.parent)


def clear(root: Path, path: str) -> None:
    """Removes what a killed process left beside a file."""
    try:
        place = target(root, path)
    except Conflict:
        return
    place.with_name(_UNDER_WAY.format(place.name)).unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
