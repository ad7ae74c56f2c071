"""D and S: deprecated symbols that are imported, passed on, used, or named in strings."""

from collections.abc import Iterator

from netra_apex.migrate.config import Canonical, Severity
from netra_apex.migrate.facts import Guard, Import
from netra_apex.migrate.findings import Finding
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Hop, Kind, Resolver, Target
from netra_apex.migrate.scopes import Text
from netra_apex.migrate.signatures import Signature, constructor
from netra_apex.migrate.source import Source
from netra_apex.migrate.usage import Deprecations, Hit, Match, Meanings

_WORDS = {
    "call": "is called", "annotation": "is an annotation", "base": "is derived from", "isinstance": "is checked for",
    "spec": "is the spec of a double", "decorator": "decorates", "except": "is caught", "match": "is matched",
}  # fmt: skip
WORDS = tuple(_WORDS.items())
LOOKS_UP = ("patch", "patch.object", "patch.dict", "setattr", "delattr", "import_module", "import_string", "__import__")


class Deprecated:
    """The findings about deprecated symbols of one tree."""

    def __init__(self, resolver: Resolver, deprecations: Deprecations) -> None:
        self._resolver = resolver
        self._deprecations = deprecations
        self._signatures: dict[str, tuple[Signature | None, Signature | None]] = {}
        # Where a deprecated symbol can be come by: its module, those above it, and those that pass it on.
        self._gateways = set(deprecations.gateways)
        for module in resolver.index.modules:
            if any(self._match(module, each) for each in module.head.imports):
                parts = module.name.split(".")
                self._gateways |= {".".join(parts[:length]) for length in range(1, len(parts) + 1)}

    def _match(self, module: Module, each: Import) -> tuple[Match, Target] | None:
        target = self._resolver.imported(module, each)
        absolute = self._resolver.index.absolute(module, each.level, each.module)
        written = f"{absolute}.{each.name}" if each.name and each.name != "*" else absolute or ""
        match = self._deprecations.of(target, self._resolver.index.plain(written))
        return None if match is None else (match, target)

    def imports(self) -> Iterator[Finding]:
        """D001, D002 and D004: imports, and names that pass a deprecated symbol on."""
        for module in self._resolver.index.modules:
            public = set(module.head.exported or ())
            for each in module.head.imports:
                found = self._match(module, each) if each.name != "*" else self._star(module, each)
                if found is None or self._deprecations.home(module, found[0]):
                    continue
                yield self._import(module, each, *found, public=each.bound in public)
            for binding in module.head.bindings:
                if binding.kind == "a" and not binding.name.startswith("__"):
                    target = self._resolver.attribute(module, binding.name)
                    match = self._deprecations.match([hop.name for hop in target.hops[1:]])
                    if match is not None and not self._deprecations.home(module, match):
                        message = (
                            f"{binding.name} stands for {match.name}, which is deprecated: {_instead(match.canonical)}"
                        )
                        place = (module.path, binding.line, binding.column + 1)
                        yield Finding(*place, "D004", message, "warning", match.name, target.hops)

    def _star(self, module: Module, each: Import) -> tuple[Match, Target] | None:
        """A deprecated symbol that a star takes along."""
        source = self._resolver.imported(module, each).module
        if source is None or source.name not in self._gateways:
            return None
        for name in source.names:
            if self._resolver.exports(source, name):
                target = self._resolver.attribute(source, name)
                match = self._deprecations.of(target)
                if match is not None:
                    return match, target
        return None

    def _import(self, module: Module, each: Import, match: Match, target: Target, *, public: bool) -> Finding:
        severity, when = _severity(each.guard)
        hops = target.hops
        direct = match.hop == 0 or len(hops) < 2
        rule = "D004" if public else "D001" if direct else "D002"
        how = "passed on in __all__" if public else "taken along by a star" if each.name == "*" else "imported"
        through = "" if direct else f" by way of {next(iter(hops)).name}"
        message = f"{match.name} is {how}{through}{when}; {_instead(match.canonical)}"
        chain = (Hop(module.path, each.line, f"{module.name}.{each.bound or '*'}"), *target.hops)
        return Finding(module.path, each.line, each.column + 1, rule, message, severity, match.name, chain)

    def asks_for(self, module: Module) -> bool:
        """Whether a file can reach a deprecated symbol, so that its uses are to be looked for."""
        for each in module.head.imports:
            target = self._resolver.imported(module, each)
            if target.name in self._gateways:
                return True
            if self._match(module, each) is not None:
                return True
        return False

    def uses(self, module: Module, source: Source, meanings: Meanings) -> Iterator[Finding]:
        """D003, D005 and D006: what a file does with deprecated symbols."""
        for hit in meanings.hits(self._deprecations):
            if self._deprecations.home(module, hit.match):
                continue
            node = hit.reference.text or hit.reference.nodes[hit.part]
            column = source.column(node.lineno, node.col_offset) + 1
            yield self._use(module, hit, node.lineno, column)
            if hit.reference.use == "call" and hit.part == len(hit.reference.parts) - 1:
                why = self._misfit(hit)
                if why:
                    message = f"the call of {hit.match.name} fits no signature: {why}"
                    yield Finding(module.path, node.lineno, column, "D006", message, "error", hit.match.name)

    def _use(self, module: Module, hit: Hit, line: int, column: int) -> Finding:
        use = hit.reference.use
        word = dict(WORDS).get(use, "is used")
        method = hit.reference.parts[hit.part + 1 :]
        name = ".".join(hit.reference.parts[: hit.part + 1])
        written = f" as {name}" if name != hit.match.name.rpartition(".")[2] else ""
        called = f" for its {method[0]}" if method else ""
        message = f"{hit.match.name} {word}{called}{written}; {_instead(hit.match.canonical)}"
        rule = "D005" if use == "base" else "D003"
        severity: Severity = "error" if use in ("call", "base", "decorator") else "warning"
        return Finding(module.path, line, column, rule, message, severity, f"{hit.match.name} {use}", hit.target.hops)

    def _misfit(self, hit: Hit) -> str:
        """Why a call fits neither the old signature nor the new one."""
        if hit.match.name not in self._signatures:
            canonical = hit.match.canonical
            old = constructor(self._resolver, hit.target.name)
            new = constructor(self._resolver, canonical.symbol, canonical.call.to if canonical.call else "")
            self._signatures[hit.match.name] = (old, new)
        old, new = self._signatures[hit.match.name]
        call = hit.reference.call
        if old is None or call is None or (new is not None and not new.refuses(call)):
            return ""
        return old.refuses(call)

    def named(self, module: Module) -> bool:
        """Whether a string of a file names a deprecated symbol, or what is not there; read off its facts alone."""
        return any(self._of_string(each) is not None for each in module.body().strings)

    def _of_string(self, value: str) -> tuple[Match | None, Target] | None:
        name = value.replace(":", ".")
        top = name.partition(".")[0]
        index = self._resolver.index
        if index.find(top) is None and not index.namespace(top) and index.plain(top) == top:
            return None
        target = self._resolver.dotted(name)
        match = self._deprecations.of(target, index.plain(name))
        return (match, target) if match is not None or target.kind is Kind.NO_NAME else None

    def texts(self, module: Module, source: Source, texts: tuple[Text, ...]) -> Iterator[Finding]:
        """S001 and S002: strings that are looked up as the program runs."""
        for text in texts:
            looked_up = any(text.call == name or text.call.endswith(f".{name}") for name in LOOKS_UP)
            found = (
                self._of_string(text.value) if text.value.isascii() and "." in text.value.replace(":", ".") else None
            )
            if found is None:
                continue
            match, target = found
            place = (module.path, text.node.lineno, source.column(text.node.lineno, text.node.col_offset) + 1)
            if match is not None and not self._deprecations.home(module, match):
                severity: Severity = "warning" if looked_up else "note"
                where = f"{text.call} looks up" if looked_up else "a string names"
                message = f"{where} {text.value}, which is {match.name}; {_instead(match.canonical)}"
                yield Finding(*place, "S001", message, severity, text.value, target.hops)
            elif match is None and looked_up and target.module is not None:
                message = f"{text.call} looks up {text.value}: {target.module.name} has no such name"
                yield Finding(*place, "S002", message, "warning", text.value)


def _severity(guard: int) -> tuple[Severity, str]:
    if guard & Guard.TYPING:
        return "note", " for typing"
    if guard & (Guard.TRY | Guard.HANDLER):
        return "warning", " behind a guard"
    return ("warning", " in a function") if guard & Guard.FUNCTION else ("error", "")


def _instead(canonical: Canonical) -> str:
    to = f".{canonical.call.to}" if canonical.call is not None and canonical.call.to else ""
    return f"use {canonical.symbol}{to}"
