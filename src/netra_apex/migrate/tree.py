"""A tree as the planner asks about it: its modules, resolved, and the bytes of its files."""

import os
from functools import cached_property
from pathlib import Path

from netra_apex.migrate.cache import FOLDER, Cache
from netra_apex.migrate.config import Configuration
from netra_apex.migrate.gather import gather, states
from netra_apex.migrate.modules import Environment, Index, Module
from netra_apex.migrate.resolve import Resolver, Target
from netra_apex.migrate.scan import scan
from netra_apex.migrate.signing import Definitions
from netra_apex.migrate.succession import Succession


class Tree:
    """A tree with its configuration; reads facts once, from the cache that `netra audit` keeps."""

    def __init__(self, root: Path, configuration: Configuration) -> None:
        self.root = root
        project = configuration.project
        with Cache(root / FOLDER) as cache:
            scanned = scan(root, project.exclude)
            known = states(root, scanned.files, cache)
            gathered = gather(root, known, cache, len(os.sched_getaffinity(0)), lambda done, total: None)
        index = Index(gathered.files, scanned.others, project.roots, project.root_aliases)
        self.aliases = project.root_aliases
        self.resolver = Resolver(index, Environment(root, project.environment))
        self.definitions = Definitions(root, self.resolver)
        self.succession = Succession(self.resolver, self.definitions, configuration.canonicals)

    @property
    def modules(self) -> list[Module]:
        """Every module, in the order of their paths."""
        return sorted(self.resolver.index.modules, key=lambda module: module.path)

    @cached_property
    def names(self) -> frozenset[str]:
        """Every name under which a deprecated symbol may be written, aliases on the way included."""
        found = set(self.succession.names)
        grown = True
        while grown:
            before = len(found)
            for module in self.resolver.index.modules:
                found |= {each.bound for each in module.head.imports if each.name in found and each.bound}
                for binding in module.head.bindings:
                    if binding.kind == "a" and binding.value.rpartition(".")[2] in found:
                        found.add(binding.name)
            grown = len(found) > before
        return frozenset(found)

    @cached_property
    def module_names(self) -> dict[str, list[str]]:
        """By path, every name that a module of a canonical symbol can be imported by."""
        paths = {target.module.path for target in self.succession.canonicals.values() if target.module is not None}
        found: dict[str, list[str]] = {path: [] for path in paths}
        for name, modules in self.resolver.index.named():
            if modules[0].path in paths:
                found[modules[0].path].append(name)
        return found

    def importable(self, symbol: Target, like: str) -> str:
        """The name of a symbol's module for a file that imports `like`: under the same root, or the same alias."""
        assert symbol.module is not None
        own, names = symbol.module.name, list(self.module_names[symbol.module.path])
        for alias, real in self.aliases.items():
            names += [alias + name[len(real) :] for name in names if name == real or name.startswith(f"{real}.")]
        return max(sorted(names), key=lambda name: (_shared(name, like), name == own))


def _shared(one: str, other: str) -> int:
    count = 0
    for left, right in zip(one.split("."), other.split("."), strict=False):
        if left != right:
            break
        count += 1
    return count
