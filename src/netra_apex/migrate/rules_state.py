"""G: state that all users of a process share, worse the more surely a request changes it."""

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from netra_apex.migrate.config import Severity
from netra_apex.migrate.facts import Mutation
from netra_apex.migrate.findings import Finding
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Hop, Kind, Resolver
from netra_apex.migrate.rules_cycles import imports
from netra_apex.migrate.rules_roles import is_test


class State(NamedTuple):
    """A value that can be changed in place."""

    module: Module
    name: str
    kind: str
    line: int
    column: int
    of_class: bool


def shared(resolver: Resolver, reached: frozenset[str] | None) -> Iterator[Finding]:
    """One finding for each value; the chain lists the changes. `reached` are the modules that requests come to."""
    states, mutations = _states(resolver)
    changes: dict[str, list[tuple[Module, Mutation]]] = {}
    for module, mutation in mutations:
        if mutation.how == "global":
            yield _rebound(module, mutation, reached)
        name = _target(resolver, module, mutation)
        if name in states:
            changes.setdefault(name, []).append((module, mutation))
    for name, state in sorted(states.items()):
        yield _finding(name, state, changes.get(name, []), reached)


def reachable(resolver: Resolver, entries: tuple[str, ...]) -> frozenset[str] | None:
    """The modules that are loaded with the entries, or None where there are none: then all may be."""
    if not entries:
        return None
    graph = imports(resolver)
    names = [resolver.index.plain(entry) for entry in entries]
    waiting = deque(name for name in graph if any(name == each or name.startswith(f"{each}.") for each in names))
    found = set(waiting)
    while waiting:
        name = waiting.popleft()
        for other, edge in graph.get(name, {}).items():
            if edge.rank < 2 and other not in found:
                found.add(other)
                waiting.append(other)
    return frozenset(found)


def _states(resolver: Resolver) -> tuple[dict[str, State], list[tuple[Module, Mutation]]]:
    states: dict[str, State] = {}
    mutations: list[tuple[Module, Mutation]] = []
    for module in resolver.index.modules:
        if is_test(module.path):
            continue
        shared = module.shared()
        mutations += [(module, each) for each in shared.mutations]
        for each in shared.mutables:
            states[f"{module.name}.{each.name}"] = State(
                module, each.name, each.kind, each.line, each.column, of_class=False
            )
        for owner, each in shared.attributes:
            if not _declares(each.name):
                name = f"{owner}.{each.name}"
                place = (each.mutable, each.line, each.column)
                states[f"{module.name}.{name}"] = State(module, name, *place, of_class=True)
    return states, mutations


def _declares(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _target(resolver: Resolver, module: Module, mutation: Mutation) -> str:
    """The dotted name of what is changed, wherever it is defined."""
    first, *rest = mutation.target.split(".")
    if first not in module.names:
        return f"{module.name}.{mutation.target}"
    found = resolver.chain(resolver.attribute(module, first), rest)
    return found.name if found.kind is Kind.SYMBOL else ""


def _rebound(module: Module, mutation: Mutation, reached: frozenset[str] | None) -> Finding:
    severity: Severity = "warning" if reached is None or module.name in reached else "note"
    message = f"{mutation.function}() rebinds {mutation.target} of its module"
    subject = f"{module.name}.{mutation.target}"
    return Finding(module.path, mutation.line, mutation.column + 1, "G002", message, severity, subject)


def _finding(
    name: str, state: State, changes: list[tuple[Module, Mutation]], reached: frozenset[str] | None
) -> Finding:
    place = (state.module.path, state.line, state.column + 1)
    if not changes:
        return Finding(*place, "G004", f"{state.name} is a {state.kind} that could be changed", "note", name)
    rule = "G003" if state.of_class else "G001"
    inside = reached is None or any(module.name in reached for module, _ in changes)
    severity: Severity = ("error" if reached is not None else "warning") if inside else "note"
    where = "by code that requests reach" if reached is not None and inside else "in functions"
    times = "once" if len(changes) == 1 else f"in {len(changes)} places"
    first = changes[0][1]
    message = f"{state.name} is a {state.kind} that is changed {where}, {times}: {first.function}() does {first.how}"
    chain = tuple(Hop(module.path, each.line, f"{module.name}.{each.function}") for module, each in changes)
    return Finding(*place, rule, message, severity, name, chain)
