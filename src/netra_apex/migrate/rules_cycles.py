"""C: modules that import each other, as they are loaded, in functions, or for typing."""

from collections import deque
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

from netra_apex.migrate.config import Severity
from netra_apex.migrate.facts import Guard
from netra_apex.migrate.findings import Finding
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Hop, Resolver

_KINDS: tuple[tuple[str, Severity, str], ...] = (
    ("C001", "warning", "as they are loaded"),
    ("C002", "note", "with imports in functions"),
    ("C003", "note", "with imports for typing"),
)


class Edge(NamedTuple):
    """One module imports another; the least rank that does: 0 as it is loaded, 1 in a function, 2 for typing."""

    rank: int
    line: int
    column: int


Graph = dict[str, dict[str, Edge]]


def cycles(resolver: Resolver) -> Iterator[Finding]:
    """Each knot of modules once, at the least rank that ties it, with the shortest way round its first module."""
    graph = imports(resolver)
    paths = {module.name: module.path for module in resolver.index.modules}
    told: dict[str, int] = {}
    knots = 0
    for rank, (rule, severity, how) in enumerate(_KINDS):
        for knot in _knots(graph, rank):
            if all(told.get(name, 0) == told.get(knot[0], 0) != 0 for name in knot):
                continue  # the same modules, tied already at a lower rank
            knots += 1
            way = _shortest(graph, knot, rank)
            told.update(dict.fromkeys(knot, knots))
            edges = [graph[one][other] for one, other in pairwise(way)]
            chain = tuple(
                Hop(paths[one], edge.line, other) for one, edge, other in zip(way, edges, way[1:], strict=False)
            )
            size = f"; {len(knot)} modules hang together" if len(knot) > len(way) - 1 else ""
            message = f"{' → '.join(way)}: they import each other {how}{size}"
            subject = ",".join(sorted(way[:-1]))
            yield Finding(paths[way[0]], edges[0].line, edges[0].column + 1, rule, message, severity, subject, chain)


def imports(resolver: Resolver) -> Graph:
    """Who imports whom, of the modules of the tree."""
    graph: Graph = {}
    for module in resolver.index.modules:
        own = graph.setdefault(module.name, {})
        for each in module.head.imports:
            target = resolver.index.absolute(module, each.level, each.module)
            if target is None:
                continue
            found = _imported(resolver, module, target, each.name)
            if found is None or found is module:
                continue
            edge = Edge(_rank(each.guard), each.line, each.column)
            if found.name not in own or edge < own[found.name]:
                own[found.name] = edge
    return graph


def _imported(resolver: Resolver, module: Module, target: str, name: str) -> Module | None:
    """The module that an import needs: the submodule that it names, else the module that it takes a name from."""
    found = resolver.index.find(target, module)
    if name and name != "*" and (found is None or (found.package and name not in found.names)):
        below = resolver.index.find(f"{target}.{name}", module)
        return below or found
    return found


def _rank(guard: int) -> int:
    if guard & Guard.TYPING:
        return 2
    return 1 if guard & Guard.FUNCTION else 0


def _knots(graph: Graph, most: int) -> list[list[str]]:
    """The strongly connected parts with more than one module, each sorted, by Tarjan's walk without recursion."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    open_: list[str] = []
    within: set[str] = set()
    found: list[list[str]] = []
    for start in sorted(graph):
        if start in number:
            continue
        work = [(start, iter(_next(graph, start, most)))]
        number[start] = low[start] = len(number)
        open_.append(start)
        within.add(start)
        while work:
            name, rest = work[-1]
            other = next(rest, None)
            if other is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == number[name]:
                    knot = _closed(open_, within, name)
                    if len(knot) > 1:
                        found.append(knot)
            elif other not in number:
                number[other] = low[other] = len(number)
                open_.append(other)
                within.add(other)
                work.append((other, iter(_next(graph, other, most))))
            elif other in within:
                low[name] = min(low[name], number[other])
    return sorted(found)


def _closed(open_: list[str], within: set[str], name: str) -> list[str]:
    knot: list[str] = []
    while not knot or knot[-1] != name:
        knot.append(open_.pop())
        within.discard(knot[-1])
    return sorted(knot)


def _next(graph: Mapping[str, Mapping[str, Edge]], name: str, most: int) -> list[str]:
    return [other for other, edge in graph.get(name, {}).items() if edge.rank <= most]


def _shortest(graph: Graph, knot: list[str], most: int) -> list[str]:
    """The shortest way from the first module that has one back to itself."""
    inside = set(knot)
    start = knot[0]
    came: dict[str, str] = {}
    waiting = deque([start])
    while waiting:
        name = waiting.popleft()
        for other in sorted(_next(graph, name, most)):
            if other == start:
                way = [name]
                while way[-1] != start:
                    way.append(came[way[-1]])
                return [*reversed(way), start]
            if other in inside and other not in came:
                came[other] = name
                waiting.append(other)
    return [start, start]
