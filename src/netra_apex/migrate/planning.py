"""A plan: every change of every file, those that hang together as units, proven, in an order that the tree gives."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from netra_apex.migrate.chains import attributes, chains
from netra_apex.migrate.changes import Change
from netra_apex.migrate.config import Configuration, Phase
from netra_apex.migrate.edits import FileEdits, Plan, Refusal, Unit, ordered
from netra_apex.migrate.mentions import mentions
from netra_apex.migrate.phases import FACADES, ordered_phases, phase_of
from netra_apex.migrate.proving import Unproven, proven
from netra_apex.migrate.rewriting import Rewriter
from netra_apex.migrate.text import Text
from netra_apex.migrate.tree import Tree

Key = tuple[str, int, str]  # of a change: path, line, symbol


def planned(root: Path, configuration: Configuration) -> Plan:
    """What is to be done in a tree. The same files and configuration give the same plan.

    Raises:
        ConfigurationError: a canonical symbol is not in the tree.
    """
    if not configuration.canonicals:
        return Plan()
    tree = Tree(root, configuration)
    forced: dict[Key, Unproven] = {}
    while True:
        files, refusals = _files(tree)
        changes = _changes(files, forced)
        edits, unproven = _proven(files, changes)
        if not unproven:
            break
        # What could not be proven is refused, and with it what hangs together with it; the rest is looked at again.
        forced |= unproven
    units, more = _units(edits, changes, ordered_phases(configuration))
    refusals += [refusal for change in changes for refusal in change.refusals]
    return Plan(units=units, refusals=tuple(sorted({*refusals, *more})))


def _changes(files: Mapping[str, Rewriter], forced: Mapping[Key, Unproven]) -> list[Change]:
    """The changes of all files, settled; those of `forced` are refused."""
    changes = [change for file in files.values() for change in (*file.changes(), *file.stars(), *chains(file))]
    for change in changes:
        _force(change, forced)
    renamed = {change.binds: _new_name(change) for change in changes if change.binds is not None and not change.refused}
    for file in files.values():
        for change in (*mentions(file, renamed), *attributes(file, renamed)):
            _force(change, forced)
            changes.append(change)
    settle(changes)
    return changes


def _force(change: Change, forced: Mapping[Key, Unproven]) -> None:
    unproven = forced.get((change.path, change.line, change.symbol))
    if unproven is not None:
        change.refuse(None, unproven.code, unproven.message)


def _files(tree: Tree) -> tuple[dict[str, Rewriter], list[Refusal]]:
    """The files in which a name stands that could be a deprecated one, parsed; the definitions' own are left out."""
    names = tree.names
    if not names:
        return {}, []
    pattern = re.compile(rb"\b(?:" + b"|".join(re.escape(name.encode()) for name in sorted(names)) + rb")\b")
    files: dict[str, Rewriter] = {}
    refusals: list[Refusal] = []
    for module in tree.modules:
        if module.path in tree.succession.definitions or (tree.root / module.path).is_symlink():
            continue
        try:
            data = (tree.root / module.path).read_bytes()
        except OSError:
            continue
        found = pattern.search(data)
        if found is None:
            continue
        try:
            files[module.path] = Rewriter(tree, module, Text(module.path, data))
        except (SyntaxError, UnicodeDecodeError) as error:
            refusals.append(
                Refusal(
                    path=module.path,
                    line=data[: found.start()].count(b"\n") + 1,
                    column=1,
                    code="approximate",
                    symbol=found.group().decode("utf-8", "replace"),
                    message=f"this Python does not parse the file: {error}",
                )
            )
    return files, refusals


def _new_name(change: Change) -> str:
    assert change.binds is not None
    if not change.moves:
        return change.binds[1]
    return change.moves[0].asname or change.moves[0].name


def settle(changes: Sequence[Change]) -> None:
    """Refuses what hangs together with what is refused, until nothing more does."""
    grown = True
    while grown:
        grown = False
        bound = {change.binds: change for change in changes if change.binds is not None}
        for change in changes:
            if change.refused:
                for place in change.through:
                    # Who takes the name from another module keeps it there as it is.
                    other = bound.get(place)
                    if other is not None and not other.refused:
                        why = f"{change.path}:{change.line} takes {place[1]} from here, and stays"
                        other.refuse(None, "coupled", why)
                        grown = True
                continue
            for place in sorted(change.needs):
                other = bound.get(place)
                if other is None or other.refused:
                    change.refuse(None, "coupled", f"{place[1]} of {place[0]} stays as it is")
                    grown = True


def _proven(
    files: Mapping[str, Rewriter], changes: Sequence[Change]
) -> tuple[dict[str, FileEdits], dict[Key, Unproven]]:
    """The edits of every file that is changed, and why changes could not be proven."""
    found: dict[str, FileEdits] = {}
    unproven: dict[Key, Unproven] = {}
    for path, file in files.items():
        mine = [change for change in changes if change.path == path and not change.refused]
        if not mine:
            continue
        try:
            made = proven(file, mine)
        except Unproven as error:
            unproven |= {(change.path, change.line, change.symbol): error for change in mine}
            continue
        if made.edits:
            found[path] = made
    return found, unproven


def _units(
    edits: Mapping[str, FileEdits], changes: Iterable[Change], phases: Sequence[Phase]
) -> tuple[tuple[Unit, ...], list[Refusal]]:
    """Files that hang together, each group of them in the last of their phases: nothing is moved before its time."""
    group = {path: path for path in edits}

    def root(path: str) -> str:
        while group[path] != path:
            path = group[path]
        return path

    facades = {change.path for change in changes if change.facade and not change.refused}
    bound = {change.binds for change in changes if change.binds and not change.refused and not change.facade}
    for change in changes:
        for place in () if change.refused else sorted(change.needs | (change.through & bound)):
            if place[0] in group and change.path in group:
                one, other = sorted((root(place[0]), root(change.path)))
                group[other] = one
    rank = {phase.name: number for number, phase in enumerate(phases)}
    units: list[Unit] = []
    refusals: list[Refusal] = []
    for first in sorted({root(path) for path in group}):
        paths = sorted(path for path in group if root(path) == first)
        names = [FACADES if path in facades else phase_of(path, phases) for path in paths]
        known = [name for name in names if name is not None]
        if len(known) < len(names):
            refusals += _without_phase(paths, names, edits)
            continue
        phase = max(known, key=lambda name: rank[name])
        units.append(Unit(ident=paths[0], phase=phase, files=tuple(edits[path] for path in paths)))
    return ordered(units, tuple(rank)), refusals


def _without_phase(paths: list[str], names: list[str | None], edits: Mapping[str, FileEdits]) -> list[Refusal]:
    lost = [path for path, name in zip(paths, names, strict=True) if name is None]
    return [
        Refusal(
            path=path,
            line=edits[path].edits[0].line,
            column=1,
            code="no_phase",
            symbol="",
            message=f"no phase includes {lost[0] if path not in lost else 'the file'}",
        )
        for path in paths
    ]
