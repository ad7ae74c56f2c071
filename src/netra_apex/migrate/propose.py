"""`--init`: an `ssot.toml` for a code base that has none, with what speaks for each choice.

The canonical class of a role is the one that most modules outside tests import. That is a proposal for a person to
look at: which of two classes is right is nothing that a count can know, and so the deprecated names are comments.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from netra_apex.migrate.audit import Work, resolved
from netra_apex.migrate.config import Configuration
from netra_apex.migrate.resolve import Kind, Resolver
from netra_apex.migrate.rules_cycles import imports
from netra_apex.migrate.rules_roles import Copy, copies, is_test
from netra_apex.migrate.signatures import class_of

_ENTRIES = 5


def proposal(folder: Path, configuration: Configuration, work: Work) -> Iterator[str]:
    """The lines of the file."""
    resolver = resolved(folder, configuration, work)
    yield "# Proposed by `netra audit --init`: look at each choice, then delete what is not meant."
    yield "[project]"
    yield f"roots = {json.dumps([root.rstrip('/') or '.' for root in resolver.index.roots])}"
    yield from _entries(resolver)
    users = _users(resolver)
    for full, several in copies(resolver).items():
        yield ""
        yield from _canonical(full.rpartition(".")[2], several, resolver, users)


def _entries(resolver: Resolver) -> Iterator[str]:
    """Modules that nobody imports and that import most: where requests may come in."""
    graph = imports(resolver)
    imported = {other for edges in graph.values() for other in edges}
    tops = [name for name in graph if name not in imported and len(graph[name]) > 1]
    paths = {module.name: module.path for module in resolver.index.modules}
    tops = sorted((name for name in tops if not is_test(paths[name])), key=lambda name: (-len(graph[name]), name))
    if tops:
        yield f"# Nobody imports these, and they import most: {', '.join(tops[:_ENTRIES])}"
        yield "# entry = [...]  # where requests come in; what they reach counts as more severe"


def _users(resolver: Resolver) -> dict[str, set[str]]:
    """Symbol to the modules outside tests that import it, by whatever way."""
    users: dict[str, set[str]] = {}
    for module in resolver.index.modules:
        if is_test(module.path):
            continue
        for each in module.head.imports:
            found = resolver.imported(module, each)
            if found.kind is Kind.SYMBOL and found.module is not module:
                users.setdefault(found.name, set()).add(module.name)
    return users


def _canonical(role: str, several: list[Copy], resolver: Resolver, users: dict[str, set[str]]) -> Iterator[str]:
    counted = sorted(
        ((len(users.get(each.dotted, ())), each) for each in several), key=lambda one: (-one[0], one[1].dotted)
    )
    best = counted[0][1]
    yield f"# {role}: {len(several)} classes"
    for count, each in counted:
        above = class_of(resolver, each.dotted)
        derived = above is not None and any(base.rpartition(".")[2] == best.name for base in above[1].bases)
        yield (
            f"#   {each.dotted} at {each.module.path}:{each.line}, imported by {count} modules"
            + (f", derived from {best.name}" if derived else "")
        )
    yield "[[canonical]]"
    yield f"symbol = {json.dumps(best.dotted)}"
    yield f"role = {json.dumps(role)}"
    yield "deprecated = ["
    yield from (f"    # {json.dumps(each.dotted)}," for _, each in counted[1:])
    yield "]"
