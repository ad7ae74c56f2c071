"""Signatures as facts keep them, and whether a call fits one."""

import ast
from dataclasses import dataclass
from typing import Self

from netra_apex.migrate.facts import Class, Function
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Kind, Resolver


@dataclass(frozen=True, slots=True)
class Signature:
    """Parameters without annotations; a name in `defaulted` may be left out."""

    positional: tuple[str, ...]
    only_positional: int
    keywords: tuple[str, ...]
    defaulted: frozenset[str]
    more_positional: bool
    more_keywords: bool

    @classmethod
    def read(cls, text: str) -> Self:
        """What `shapes.signature` wrote, such as `self,a,b=,/,c,*,d=,**kw`."""
        positional: list[str] = []
        keywords: list[str] = []
        defaulted: set[str] = set()
        only = 0
        star = more = rest = False
        for part in text.split(",") if text else []:
            if part == "/":
                only = len(positional)
            elif part.startswith("**"):
                rest = True
            elif part.startswith("*"):
                star, more = True, part != "*"
            else:
                name = part.removesuffix("=")
                (keywords if star else positional).append(name)
                if name != part:
                    defaulted.add(name)
        return cls(tuple(positional), only, tuple(keywords), frozenset(defaulted), more, rest)

    def without_first(self) -> "Signature":
        """As a caller sees a method: without `self`."""
        return Signature(
            self.positional[1:],
            max(self.only_positional - 1, 0),
            self.keywords,
            self.defaulted,
            self.more_positional,
            self.more_keywords,
        )

    @property
    def required(self) -> tuple[str, ...]:
        """What a call has to give."""
        return tuple(name for name in (*self.positional, *self.keywords) if name not in self.defaulted)

    def refuses(self, call: ast.Call) -> str:
        """Why a call does not fit, or nothing where it fits or nobody can know."""
        if any(isinstance(each, ast.Starred) for each in call.args) or any(each.arg is None for each in call.keywords):
            return ""
        if len(call.args) > len(self.positional) and not self.more_positional:
            return f"it takes {len(self.positional)} positional arguments and is given {len(call.args)}"
        given = set(self.positional[: len(call.args)])
        for keyword in call.keywords:
            name = keyword.arg or ""
            if name in given:
                return f"it is given {name} twice"
            if name not in (*self.positional[self.only_positional :], *self.keywords) and not self.more_keywords:
                return f"it takes no {name}"
            given.add(name)
        missing = [name for name in self.required if name not in given]
        return f"it lacks {', '.join(missing)}" if missing else ""


def class_of(resolver: Resolver, name: str) -> tuple[Module, Class] | None:
    """The class that a dotted name leads to, with its module."""
    found = resolver.dotted(name)
    if found.kind is not Kind.SYMBOL or found.module is None:
        return None
    own = found.name[len(found.module.name) + 1 :]
    each = next((each for each in found.module.body().classes if each.name == own and not each.local), None)
    return None if each is None else (found.module, each)


def method_of(resolver: Resolver, owner: tuple[Module, Class], name: str, depth: int = 0) -> Function | None:
    """A method, its own or of the first base that is known to have it."""
    module, found = owner
    for method in found.methods:
        if method.name == name and "o" not in method.traits:
            return method
    for base in found.bases if depth < 16 else ():
        above = class_of(resolver, base_name(resolver, module, base))
        if above is not None and above[1] is not found:
            method = method_of(resolver, above, name, depth + 1)
            if method is not None:
                return method
    return None


def base_name(resolver: Resolver, module: Module, base: str) -> str:
    """The dotted name of a base class, as its module names it."""
    first, *rest = base.split(".")
    if first not in module.names and not module.stars:
        return base
    found = resolver.chain(resolver.attribute(module, first), rest)
    return found.name


def constructor(resolver: Resolver, symbol: str, method: str = "") -> Signature | None:
    """What a call of a class, of one of its factory methods, or of a function takes; None where nobody knows."""
    owner = class_of(resolver, symbol)
    if owner is not None:
        if any(each.rpartition(".")[2] == "dataclass" for each in owner[1].decorators):
            return None
        found = method_of(resolver, owner, method or "__init__")
        if found is None:
            return None
        return (
            Signature.read(found.signature) if "s" in found.traits else Signature.read(found.signature).without_first()
        )
    target = resolver.dotted(symbol)
    if target.kind is not Kind.SYMBOL or target.module is None or method:
        return None
    own = target.name[len(target.module.name) + 1 :]
    function = next((each for each in target.module.body().functions if each.name == own), None)
    return None if function is None else Signature.read(function.signature)
