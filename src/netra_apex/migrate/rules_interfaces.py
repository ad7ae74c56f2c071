"""I: whether the classes below an interface are what it asks for."""

from collections.abc import Iterator, Sequence

from netra_apex.migrate.config import Interface
from netra_apex.migrate.facts import Class, Function
from netra_apex.migrate.findings import Finding
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Hop, Resolver
from netra_apex.migrate.signatures import Signature, base_name, class_of

_OPEN = frozenset({"ABC", "Protocol", "Generic", "object"})
Owner = tuple[Module, Class]


def conformance(resolver: Resolver, interfaces: Sequence[Interface]) -> Iterator[Finding]:
    """Each class below an interface, directly or not, against each method of the interface."""
    if not interfaces:
        return
    family = _Family(resolver)
    for interface in interfaces:
        base = class_of(resolver, interface.base)
        if base is None:
            continue
        for owner in family.below(base):
            yield from _checked(family, interface, base, owner)


class _Family:
    """Which class is derived from which, over the whole tree."""

    def __init__(self, resolver: Resolver) -> None:
        self._owners: dict[str, Owner] = {}
        self._bases: dict[str, list[str]] = {}
        self._children: dict[str, list[str]] = {}
        for module in resolver.index.modules:
            if not any(binding.kind == "c" for binding in module.head.bindings):
                continue
            for each in module.body().classes:
                name = f"{module.name}.{each.name}"
                self._owners.setdefault(name, (module, each))
                bases = [base_name(resolver, module, base) for base in each.bases if base]
                bases = [f"{module.name}.{base}" if f"{module.name}.{base}" in self._owners else base for base in bases]
                self._bases[name] = bases
                for base in bases:
                    self._children.setdefault(base, []).append(name)

    def below(self, base: Owner) -> list[Owner]:
        """Every class below one, by name."""
        waiting = [f"{base[0].name}.{base[1].name}"]
        found: set[str] = set()
        while waiting:
            new = [each for each in self._children.get(waiting.pop(), ()) if each not in found]
            found.update(new)
            waiting += new
        return [self._owners[name] for name in sorted(found)]

    def leaf(self, owner: Owner) -> bool:
        """Whether nothing is derived from a class."""
        return f"{owner[0].name}.{owner[1].name}" not in self._children

    def method(self, owner: Owner, name: str, seen: frozenset[str] = frozenset()) -> tuple[Owner, Function] | None:
        """A method, of the class or of the first base that has it; one that is abstract only where no other is."""
        for method in owner[1].methods:
            if method.name == name and "o" not in method.traits:
                return owner, method
        full = f"{owner[0].name}.{owner[1].name}"
        abstract: tuple[Owner, Function] | None = None
        for base in self._bases.get(full, ()) if full not in seen else ():
            above = self._owners.get(base)
            found = self.method(above, name, seen | {full}) if above is not None else None
            if found is not None and "b" not in found[1].traits:
                return found
            abstract = abstract or found
        return abstract

    def opaque(self, owner: Owner, seen: frozenset[str] = frozenset()) -> bool:
        """Whether a class has a base, at any height, of which nothing is known."""
        full = f"{owner[0].name}.{owner[1].name}"
        if full in seen:
            return False
        for base in (*self._bases.get(full, ()), *(["?"] if "" in owner[1].bases else [])):
            above = self._owners.get(base)
            if above is None and base.rpartition(".")[2] not in _OPEN:
                return True
            if above is not None and self.opaque(above, seen | {full}):
                return True
        return False

    def declares(self, owner: Owner) -> bool:
        """Whether a class is abstract itself: it has an abstract method of its own, or says that it is one."""
        own = any("b" in method.traits for method in owner[1].methods)
        return own or any(base.rpartition(".")[2] in ("ABC", "Protocol") for base in owner[1].bases)


def _checked(family: _Family, interface: Interface, base: Owner, owner: Owner) -> Iterator[Finding]:
    module, found = owner
    chain = (Hop(base[0].path, base[1].line, f"{base[0].name}.{base[1].name}"),)
    protocol = any(each.rpartition(".")[2] == "Protocol" for each in base[1].bases)
    for asked in base[1].methods:
        has = family.method(owner, asked.name)
        abstract = "b" in asked.traits or protocol
        if has is None or _same(has[0], base):
            lacks = abstract and "abstract" in interface.check and not family.declares(owner) and family.leaf(owner)
            if lacks and not family.opaque(owner) and not any(each.name == asked.name for each in found.attributes):
                message = f"{found.name} lacks {asked.name} of {base[1].name}"
                place = (module.path, found.line, found.column + 1)
                yield Finding(*place, "I001", message, "error", f"{module.name}.{found.name}.{asked.name}", chain)
            continue
        if not _same(has[0], owner) or asked.name in ("__init__", "__new__") or "p" in asked.traits:
            continue
        yield from _compared(interface, base, owner, asked, has[1], chain)


def _same(one: Owner, other: Owner) -> bool:
    return one[0] is other[0] and one[1].name == other[1].name


def _compared(
    interface: Interface, base: Owner, owner: Owner, asked: Function, has: Function, chain: tuple[Hop, ...]
) -> Iterator[Finding]:
    module, found = owner
    place = (module.path, has.line, has.column + 1)
    subject = f"{module.name}.{found.name}.{has.name}"
    name = f"{found.name}.{has.name}"
    if "async" in interface.check and ("a" in asked.traits) != ("a" in has.traits):
        is_one = "is async" if "a" in has.traits else "is not async"
        message = f"{name} {is_one}, {base[1].name}.{asked.name} is otherwise"
        yield Finding(*place, "I002", message, "error", subject, chain)
    if "positional" in interface.check:
        why = _differs(_seen(asked), _seen(has))
        if why:
            message = f"{name}({has.signature}) does not take what {base[1].name}.{asked.name} takes: {why}"
            yield Finding(*place, "I003", message, "error", subject, chain)


def _seen(method: Function) -> Signature:
    """A method as its callers see it."""
    read = Signature.read(method.signature)
    return read if "s" in method.traits else read.without_first()


def _differs(asked: Signature, has: Signature) -> str:
    """Why a call that fits the one may not fit the other."""
    for place, name in enumerate(asked.positional):
        if place >= len(has.positional):
            if not has.more_positional:
                return f"{name} is missing"
            continue
        if has.positional[place] != name and not (place < asked.only_positional):
            return f"{name} is {has.positional[place]} there"
        if name in asked.defaulted and has.positional[place] not in has.defaulted:
            return f"{name} may no more be left out"
    for name in asked.keywords:
        if name not in (*has.keywords, *has.positional[has.only_positional :]) and not has.more_keywords:
            return f"{name} is missing"
    known = {*asked.positional, *asked.keywords}
    more = [name for name in (*has.positional[len(asked.positional) :], *has.keywords) if name not in known]
    needed = [name for name in more if name not in has.defaulted]
    if needed:
        return f"{needed[0]} is asked for besides"
    if asked.more_positional and not has.more_positional:
        return "further positional arguments are not taken"
    return "further keywords are not taken" if asked.more_keywords and not has.more_keywords else ""
