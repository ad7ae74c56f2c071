"""What a name is, followed through imports, re-exports, aliases and stars, with every hop on the way."""

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from netra_apex.migrate.facts import Import
from netra_apex.migrate.modules import Environment, Index, Module

_DEEP = 64  # hops that nobody writes; a chain that is longer is no chain


class Kind(Enum):
    """What was found at the end."""

    SYMBOL = "symbol"
    MODULE = "module"
    EXTERNAL = "external"  # of the standard library, or installed
    UNKNOWN = "unknown"  # there may be such a name: the module makes names as it runs, or is not of this tree
    NO_MODULE = "no module"
    NO_NAME = "no name"


class Hop(NamedTuple):
    """A place that a name goes through; `name` is its dotted name there."""

    path: str
    line: int
    name: str


class Target(NamedTuple):
    """Where a name leads; `hops` are the places on the way, its definition last."""

    kind: Kind
    name: str
    module: Module | None = None
    hops: tuple[Hop, ...] = ()

    @property
    def missing(self) -> bool:
        """Whether there is nothing."""
        return self.kind in (Kind.NO_MODULE, Kind.NO_NAME)


class Resolver:
    """Answers for one tree, each question once."""

    def __init__(self, index: Index, environment: Environment) -> None:
        self.index = index
        self.environment = environment
        self._known: dict[tuple[str, str], Target] = {}

    def imported(self, importer: Module, each: Import) -> Target:
        """What an import binds; of a star, the module that it takes the names of."""
        absolute = self.index.absolute(importer, each.level, each.module)
        if absolute is None:
            dots = "." * each.level
            return Target(Kind.NO_MODULE, f"{dots}{each.module}")
        if not each.name:
            whole = self.module(absolute, importer)
            if each.bound == absolute.partition(".")[0] and "." in absolute and not whole.missing:
                return self.module(each.bound, importer)
            return whole
        if each.name == "*":
            return self.module(absolute, importer)
        return self.member(absolute, each.name, importer)

    def module(self, name: str, importer: Module | None = None) -> Target:
        """The module of an absolute name."""
        found = self.index.find(name, importer)
        if found is not None:
            return Target(Kind.MODULE, found.name, found, (Hop(found.path, 1, found.name),))
        if self.index.namespace(name):
            return Target(Kind.MODULE, self.index.plain(name))
        if self.index.opaque(name):
            return Target(Kind.UNKNOWN, name)
        beside = self._beside(name, importer)
        if beside is not None:
            return Target(Kind.MODULE, beside.name, beside, (Hop(beside.path, 1, beside.name),))
        if self.environment.standard(name):
            return Target(Kind.EXTERNAL, name)
        if self._own(name, importer):
            return Target(self._kind_below(name, importer), name)
        if self.environment.installed(name):
            return Target(Kind.EXTERNAL, name)
        return Target(Kind.UNKNOWN if self.environment.installed(name) is None else Kind.NO_MODULE, name)

    def _beside(self, name: str, importer: Module | None) -> Module | None:
        """A file in the folder of a script that imports it, as the script's own folder is the first of `sys.path`."""
        if importer is None or "." in importer.path.rpartition("/")[0] or not importer.base:
            return None
        if self.index.find(importer.base) is not None:
            return None  # a package's modules are not importable by their bare names
        return self.index.find(f"{importer.base}.{name}", importer)

    def _own(self, name: str, importer: Module | None) -> bool:
        """Whether the tree has the first part of a name, so that the rest is to be there too."""
        top = name.partition(".")[0]
        found = self.index.find(top, importer)
        if found is None:
            return self.index.namespace(top) and "." in name
        return True

    def _kind_below(self, name: str, importer: Module | None) -> Kind:
        """Unknown where a package on the way finds its modules as it runs."""
        parent = name.rpartition(".")[0]
        while parent:
            found = self.index.find(parent, importer)
            if found is not None:
                return Kind.UNKNOWN if found.package and found.head.dynamic else Kind.NO_MODULE
            parent = parent.rpartition(".")[0]
        return Kind.NO_MODULE

    def member(self, name: str, attribute: str, importer: Module | None = None) -> Target:
        """What `from name import attribute` binds."""
        found = self.module(name, importer)
        if found.kind is not Kind.MODULE:
            return Target(found.kind, f"{name}.{attribute}" if not found.missing else name)
        if found.module is None:
            return self._submodule(found.name, attribute, None)
        target = self.attribute(found.module, attribute)
        if target.kind is Kind.NO_NAME and self.environment.standard(found.name):
            return Target(Kind.UNKNOWN, target.name)  # which of the two it is depends on where Python is started
        return target

    def _submodule(self, package: str, attribute: str, module: Module | None) -> Target:
        name = f"{package}.{attribute}"
        found = self.index.find(name, module)
        if found is not None:
            return Target(Kind.MODULE, found.name, found, (Hop(found.path, 1, found.name),))
        if self.index.namespace(name):
            return Target(Kind.MODULE, name)
        if self.index.opaque(name) or self.index.opaque(package):
            return Target(Kind.UNKNOWN, name)
        if module is not None and (module.head.dynamic or module.head.approximate):
            return Target(Kind.UNKNOWN, name)
        return Target(Kind.NO_NAME, name, module)

    def attribute(self, module: Module, name: str) -> Target:
        """What a module's attribute is, followed to its definition."""
        key = (module.path, name)
        known = self._known.get(key)
        if known is None:
            # A chain that comes back to itself finds nothing the second time.
            self._known[key] = Target(Kind.UNKNOWN, f"{module.name}.{name}", module)
            known = self._known[key] = self._attribute(module, name)
        return known

    def _attribute(self, module: Module, name: str) -> Target:
        binding = module.names.get(name)
        if binding is None:
            return self._from_stars(module, name)
        hop = Hop(module.path, binding.line, f"{module.name}.{name}")
        if binding.kind == "i":
            place: int = binding.value
            found = self.imported(module, module.head.imports[place])
            if found.missing and found.kind is Kind.NO_MODULE and self._twin(module, name):
                found = Target(Kind.UNKNOWN, found.name)
            return _behind(hop, found)
        if binding.kind == "a":
            first, *rest = binding.value.split(".")
            if first != name and first in module.names:
                found = self.chain(self.attribute(module, first), rest)
                if not found.missing and found.kind is not Kind.UNKNOWN:
                    return _behind(hop, found)
        return Target(Kind.SYMBOL, hop.name, module, (hop,))

    def _twin(self, module: Module, name: str) -> bool:
        """Whether another binding stands in for one whose import fails."""
        return sum(each.name == name for each in module.head.bindings) > 1

    def _from_stars(self, module: Module, name: str) -> Target:
        unknown = False
        for star in reversed(module.stars):
            source = self.imported(module, star)
            if source.module is None:
                unknown = unknown or source.kind is not Kind.MODULE
                continue
            if not self.exports(source.module, name):
                unknown = unknown or source.module.head.dynamic
                continue
            found = self.attribute(source.module, name)
            if not found.missing:
                return _behind(Hop(module.path, star.line, f"{module.name}.{name}"), found)
        found = self._submodule(module.name, name, module) if module.package else Target(Kind.NO_NAME, "")
        if found.kind is Kind.NO_NAME:
            may = unknown or module.head.dynamic or module.head.approximate or name in _EVERY
            return Target(Kind.UNKNOWN if may else Kind.NO_NAME, f"{module.name}.{name}", module)
        return found

    def exports(self, module: Module, name: str) -> bool:
        """Whether a star import of a module takes a name along."""
        if module.head.exported is not None:
            return name in module.head.exported
        if name.startswith("_"):
            return False
        return name in module.names or any(
            (source := self.imported(module, star)).module is not None
            and source.module is not module
            and self._deep_exports(source.module, name, {module.path})
            for star in module.stars
        )

    def _deep_exports(self, module: Module | None, name: str, seen: set[str]) -> bool:
        if module is None or module.path in seen or len(seen) > _DEEP:
            return False
        seen.add(module.path)
        if module.head.exported is not None:
            return name in module.head.exported
        return name in module.names or any(
            self._deep_exports(self.imported(module, star).module, name, seen) for star in module.stars
        )

    def chain(self, found: Target, rest: Sequence[str]) -> Target:
        """What `found.a.b` is; what a class or value holds is not known, and ends the way."""
        for part in rest:
            if found.kind is Kind.MODULE:
                step = (
                    self.attribute(found.module, part)
                    if found.module is not None
                    else self._submodule(found.name, part, None)
                )
                kept = tuple(hop for hop in found.hops[:-1])
                found = step._replace(hops=(*kept, *step.hops))
            elif found.kind is Kind.SYMBOL:
                return Target(Kind.SYMBOL, f"{found.name}.{part}", found.module, found.hops)
            else:
                return Target(found.kind, f"{found.name}.{part}")
        return found

    def dotted(self, name: str) -> Target:
        """What an absolute dotted name is: the longest module that it begins with, and its attributes."""
        parts = self.index.plain(name).split(".")
        for length in range(len(parts), 0, -1):
            found = self.index.find(".".join(parts[:length]))
            if found is not None:
                start = Target(Kind.MODULE, found.name, found, (Hop(found.path, 1, found.name),))
                return self.chain(start, parts[length:])
        return self.module(name)


# What every module has without binding it.
_EVERY_WORDS = """
    __name__ __file__ __doc__ __package__ __spec__ __loader__ __path__ __dict__ __builtins__ __cached__
    __annotations__
"""
_EVERY = frozenset(_EVERY_WORDS.split())


def _behind(hop: Hop, found: Target) -> Target:
    if len(found.hops) > _DEEP:
        return found
    return found._replace(hops=(hop, *found.hops))
