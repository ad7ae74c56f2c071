"""What takes the place of what: the deprecated symbols of a configuration, resolved, each with its successor."""

from collections.abc import Iterable
from dataclasses import dataclass

from netra_apex.errors import ConfigurationError
from netra_apex.migrate.config import Call, Canonical
from netra_apex.migrate.resolve import Kind, Resolver, Target
from netra_apex.migrate.signing import Definitions, Taken, of_configuration


@dataclass(frozen=True, slots=True)
class Successor:
    """What takes the place of a deprecated symbol: where it is, and what its calls take, old and new.

    `same` says that a call of the old one is a call of the new one as it is, so the class can be passed on too.
    """

    old: str
    symbol: Target
    module: str
    name: str
    call: Call
    before: Taken | None
    after: Taken | None
    same: bool


class Succession:
    """Answers, for what a name leads to, what takes its place."""

    def __init__(self, resolver: Resolver, definitions: Definitions, canonicals: Iterable[Canonical]) -> None:
        self._resolver = resolver
        self._definitions = definitions
        self._by_name: dict[str, Successor] = {}
        self.canonicals: dict[str, Target] = {}
        for canonical in canonicals:
            self._add(canonical)
        self.definitions = frozenset(
            target.module.path for name in self._by_name if (target := resolver.dotted(name)).module is not None
        )

    def _add(self, canonical: Canonical) -> None:
        found = self._resolver.dotted(canonical.symbol)
        if found.kind is not Kind.SYMBOL or found.module is None:
            raise ConfigurationError(f"the canonical symbol {canonical.symbol} is not in the tree")
        module, _, name = found.name.rpartition(".")
        if module != found.module.name:
            raise ConfigurationError(f"the canonical symbol {canonical.symbol} is not at the top level of a module")
        self.canonicals[found.name] = found
        for old, target in self._deprecated(canonical):
            call = canonical.call or Call()
            before = self._definitions.taken(target)
            after = self._definitions.taken(found, call.to)
            if after is None and call.params:
                after = of_configuration(call.params, call.required)
            plain = not (call.to or call.rename or call.drop)
            same = target.name == found.name or (
                plain and before is not None and after is not None and before.same(after)
            )
            self._by_name[old] = Successor(old, found, module, name, call, before, after, same)

    def _deprecated(self, canonical: Canonical) -> Iterable[tuple[str, Target]]:
        """(name as it is looked up, what it is) of each deprecated symbol; what is gone already is left out."""
        for old in canonical.deprecated:
            if not old.endswith(".*"):
                target = self._resolver.dotted(old)
                if target.kind is Kind.SYMBOL:
                    # A deprecated name of the canonical symbol itself is known by its place, not by what it is.
                    yield (old if target.name == canonical.symbol else target.name), target
                continue
            module = self._resolver.module(old.removesuffix(".*")).module
            for name, binding in sorted(module.names.items()) if module is not None else ():
                if binding.kind in ("c", "f") and not name.startswith("_"):
                    assert module is not None
                    yield f"{module.name}.{name}", self._resolver.attribute(module, name)

    def of(self, target: Target) -> Successor | None:
        """What takes the place of what a name leads to."""
        if target.kind is not Kind.SYMBOL:
            return None
        found = self._by_name.get(target.name)
        if found is None:
            found = next((self._by_name[hop.name] for hop in target.hops if hop.name in self._by_name), None)
        return found

    def is_canonical(self, target: Target) -> bool:
        """Whether a name leads to a canonical symbol."""
        return target.kind is Kind.SYMBOL and target.name in self.canonicals

    @property
    def names(self) -> frozenset[str]:
        """The last parts of the deprecated names."""
        return frozenset(name.rpartition(".")[2] for name in self._by_name)
