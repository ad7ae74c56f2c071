"""Which references of a file mean a configured symbol, whatever they are called there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from netra_apex.migrate.config import Canonical
from netra_apex.migrate.facts import Import
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Hop, Kind, Resolver, Target
from netra_apex.migrate.scopes import Analysis, Bound, Reference, Scope

_DEEP = 16  # local aliases of aliases


@dataclass(frozen=True, slots=True)
class Match:
    """A deprecated name that something leads to: `name` as configured, `hop` the place of the chain that has it."""

    canonical: Canonical
    name: str
    hop: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A reference that means a deprecated symbol: `part` is the place of the symbol in its parts."""

    reference: Reference
    part: int
    match: Match
    target: Target


class Deprecations:
    """The deprecated names of a configuration, as the tree has them."""

    def __init__(self, resolver: Resolver, canonicals: Sequence[Canonical]) -> None:
        self.resolver = resolver
        self._names: dict[str, tuple[Canonical, str]] = {}
        self._prefixes: list[tuple[str, Canonical, str]] = []
        self._kept = {self._plain(each.symbol) for each in canonicals}
        self._kept |= {resolver.dotted(each.symbol).name for each in canonicals}
        self.homes: dict[str, str] = {}
        for canonical in canonicals:
            for old in canonical.deprecated:
                self._add(canonical, old)
        self.gateways = {prefix for name in self._names for prefix in _prefixes(name)}
        self.gateways |= {prefix for each, _, _ in self._prefixes for prefix in (*_prefixes(each), each)}

    def __bool__(self) -> bool:
        return bool(self._names or self._prefixes)

    def _add(self, canonical: Canonical, old: str) -> None:
        plain = self._plain(old.removesuffix(".*"))
        if old.endswith(".*"):
            self._prefixes.append((plain, canonical, old))
            self.homes[old] = plain
            return
        self._names[plain] = (canonical, old)
        end = self.resolver.dotted(old)
        self.homes[old] = plain.rpartition(".")[0]
        if end.kind is Kind.SYMBOL and end.module is not None and end.name not in self._kept:
            self._names[end.name] = (canonical, old)
            self.homes[old] = end.module.name

    def _plain(self, name: str) -> str:
        """A configured name with its module called as the index calls it."""
        parts = self.resolver.index.plain(name).split(".")
        for length in range(len(parts), 0, -1):
            module = self.resolver.index.find(".".join(parts[:length]))
            if module is not None:
                return ".".join([module.name, *parts[length:]])
        return name

    def match(self, names: Sequence[str]) -> Match | None:
        """The first of the names on a way that is deprecated."""
        for place, name in enumerate(names):
            found = self._names.get(name)
            if found is not None:
                return Match(*found, place)
            if name in self._kept:
                return None
            for prefix, canonical, old in self._prefixes:
                if name.startswith(f"{prefix}.") or name == prefix:
                    return Match(canonical, old, place)
        return None

    def of(self, target: Target, written: str = "") -> Match | None:
        """Whether a target is deprecated; `written` is the absolute name that led there."""
        names = [hop.name for hop in target.hops]
        return self.match([written, *names, target.name] if written else [*names, target.name])

    def home(self, module: Module, match: Match) -> bool:
        """Whether a module is where the deprecated symbol itself lives, whose own uses go with it."""
        home = self.homes[match.name]
        return module.name == home or (match.name.endswith(".*") and module.name.startswith(f"{home}."))


class Meanings:
    """What the names of one file mean, scope by scope."""

    def __init__(self, resolver: Resolver, module: Module, analysis: Analysis) -> None:
        self.resolver = resolver
        self.module = module
        self.analysis = analysis

    def root(self, name: str, scope: Scope | None, depth: int = 0) -> Target | None:
        """What a bare name means where it is bound in a scope; None for a parameter or a value that nobody knows."""
        if scope is None:
            if not self.module.stars:
                return None
            found = self.resolver.attribute(self.module, name)
            return found if found.kind is Kind.SYMBOL or found.kind is Kind.MODULE else None
        if scope.parent is None:
            return self.resolver.attribute(self.module, name)
        bounds = scope.names[name]
        imports = [each for each in bounds if each.kind == "import"]
        if imports:
            return self.resolver.imported(self.module, as_import(imports[-1]))
        last = bounds[-1]
        if last.kind == "value" and last.alias and len(bounds) == 1 and depth < _DEEP:
            first, *rest = last.alias.split(".")
            target = self.root(first, scope.lookup(first), depth + 1) if first != name else None
            return None if target is None else self.resolver.chain(target, rest)
        return None

    def steps(self, reference: Reference) -> Iterator[tuple[int, Target]]:
        """What each part of a reference means, from the name to its last attribute."""
        target = self.root(reference.parts[0], reference.bound)
        if target is None:
            return
        yield 0, target
        for place, part in enumerate(reference.parts[1:], 1):
            target = self.resolver.chain(target, [part])
            yield place, target

    def whole(self, reference: Reference) -> Target | None:
        """What a reference means with all its parts."""
        return next((target for _, target in reversed(tuple(self.steps(reference)))), None)

    def hits(self, deprecations: Deprecations) -> Iterator[Hit]:
        """The references that mean something deprecated."""
        for reference in self.analysis.references:
            if reference.use in ("store", "delete"):
                continue
            for place, target in self.steps(reference):
                match = deprecations.of(target)
                # A deprecated module is no use yet: what is taken from it is.
                if match is not None and target.kind is not Kind.MODULE:
                    yield Hit(reference, place, match, target)
                    break


def as_import(bound: Bound) -> Import:
    """A binding of a scope as the import that makes it."""
    alias, statement = bound.node, bound.statement
    if hasattr(statement, "level"):
        return Import(statement.module or "", alias.name, bound.name, statement.level, 0, alias.lineno, 0)
    return Import(alias.name, "", bound.name, 0, 0, alias.lineno, 0)


def _prefixes(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]


def shown(hops: Sequence[Hop]) -> str:
    """A chain in a sentence."""
    return " → ".join(hop.name for hop in hops)
