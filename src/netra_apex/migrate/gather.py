"""The facts of all files: from the cache, else extracted, in as many processes as there are cores."""

import gc
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netra_apex.migrate.cache import Cache, Stored, digest, settled, stat_of
from netra_apex.migrate.extract import facts

_FEW = 150  # files that one process has done before a second one has begun
_CHUNK = 24

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class States:
    """Stat and digest of every file, as far as they are known without extracting, and what could not be read."""

    files: dict[str, tuple[bytes, bytes]]
    unread: dict[str, str]
    changed: bool

    def key(self) -> bytes | None:
        """What names the state of all files, or None where a digest is not known yet."""
        if not all(known for _, known in self.files.values()):
            return None
        return key_of({path: known for path, (_, known) in self.files.items()}, self.unread)


@dataclass(frozen=True, slots=True)
class Gathered:
    """Facts by path, in the order of the scan, and the files that could not be read."""

    files: dict[str, Stored]
    unread: dict[str, str]

    def key(self) -> bytes:
        """What names the state of all files."""
        return key_of({path: stored.digest for path, stored in self.files.items()}, self.unread)


def key_of(digests: Mapping[str, bytes], unread: Iterable[str]) -> bytes:
    """What names files with such contents."""
    parts = (part for path, known in digests.items() for part in (os.fsencode(path), known))
    return digest(*parts, b"unread", *(os.fsencode(path) for path in unread))


def states(folder: Path, paths: Sequence[str], cache: Cache) -> States:
    """Which files are as they were; one whose stat is another is read, unless everything is new."""
    root = f"{folder}{os.sep}"
    before = cache.digests()
    files: dict[str, tuple[bytes, bytes]] = {}
    unread: dict[str, str] = {}
    changed = False
    for path in paths:
        stat = stat_of(root + path)
        if stat is None:
            unread[path] = "it cannot be read"
            continue
        known = before.get(path)
        if known is not None and known[0] == stat and settled(stat):
            files[path] = known
            continue
        changed = True
        files[path] = (stat, (_digest(root + path) or b"") if before else b"")
    return States(files, unread, changed or len(before) != len(files))


def gather(folder: Path, known: States, cache: Cache, jobs: int, progress: Progress) -> Gathered:
    """Facts of the files of a folder; `progress` is told how many of how many are done."""
    root = f"{folder}{os.sep}"
    kept = cache.facts()
    found = {path: kept[digested] for path, (_, digested) in known.files.items() if digested in kept}
    missing = [path for path in known.files if path not in found]
    unread = dict(known.unread)
    done = len(found)
    progress(done, len(known.files))
    made: dict[str, Stored] = {}
    for path, stored in _extracted(root, missing, jobs):
        if isinstance(stored, str):
            unread[path] = stored
        else:
            made[path] = stored
        done += 1
        progress(done, len(known.files))
    found |= made
    if made or known.changed:
        cache.keep({path: (known.files[path][0], stored.digest) for path, stored in found.items()}, made.values())
    return Gathered({path: found[path] for path in known.files if path in found}, unread)


def _digest(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - ten thousand times
            return digest(file.read())
    except OSError:
        return None


def _one(path: str) -> Stored | str:
    """The facts of a file, or why it could not be read."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - ten thousand times
            source = file.read()
    except OSError as error:
        return error.strerror or "it cannot be read"
    return Stored(digest(source), *facts(source))


def _extracted(root: str, paths: Sequence[str], jobs: int) -> Iterator[tuple[str, Stored | str]]:
    with _without_collector():
        if jobs <= 1 or len(paths) < _FEW:
            for path in paths:
                yield path, _one(root + path)
            return
        # Large files first would even out the end; chunks in order keep the cache warm, and the end is short.
        method = "fork" if "fork" in multiprocessing.get_all_start_methods() else None
        with multiprocessing.get_context(method).Pool(jobs, gc.disable) as pool:
            names = (root + path for path in paths)
            yield from zip(paths, pool.imap(_one, names, _CHUNK), strict=True)


@contextmanager
def _without_collector() -> Generator[None]:
    """Trees have no cycles, and a collector that looks for some takes a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
