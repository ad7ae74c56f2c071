"""U: several classes for one role, by their names."""

import re
from collections.abc import Iterator, Sequence

from netra_apex.migrate.config import Canonical
from netra_apex.migrate.facts import Binding
from netra_apex.migrate.findings import Finding
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Hop, Resolver

# What a class is called for what it does in a system, of which one is enough.
_ROLES_WORDS = """
    Engine Registry Factory Manager Dispatcher Executor Scheduler Emitter Notifier Bridge Orchestrator
    Supervisor Coordinator Pool Cache Store Repository Gateway Router Broker Bus Loader Resolver Provider
    Service Client Connection Session Validator Authenticator Tracker Monitor Collector Publisher Processor
    Pipeline
"""
ROLES = frozenset(_ROLES_WORDS.split())
# What is put before or behind a name when somebody writes the same thing again.
_AGAIN_WORDS = """
    Unified Enhanced Consolidated Modern Legacy New Old Improved Advanced Simple Basic Optimized Refactored
    Canonical Smart Better Fixed Real Actual Main Core Default Global Primary Central Isolated Secure Safe Fast
    Robust Async User Request Actor Impl Implementation Wrapper Adapter Compat Deprecated Original Backup Copy
    Temp
"""
_AGAIN = frozenset(_AGAIN_WORDS.split())
_OTHERWISE_WORDS = """
    Base Abstract Mock Fake Stub Dummy Test Protocol Interface Mixin Error Exception
"""
_OTHERWISE = frozenset(_OTHERWISE_WORDS.split())
_ANY = re.compile("|".join(sorted(ROLES)))  # of most names it says at once that they have no role
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z][a-z]*|[a-z]+|\d+")


class Copy:
    """A class that does what others do."""

    def __init__(self, module: Module, found: Binding) -> None:
        self.module = module
        self.name = found.name
        self.line = found.line
        self.column = found.column

    @property
    def dotted(self) -> str:
        """Its dotted name."""
        return f"{self.module.name}.{self.name}"


def role(name: str) -> str:
    """The role that a class's name speaks of, without the words that say `again`; empty where it speaks of none."""
    if _ANY.search(name) is None:
        return ""
    words = [word for word in _WORD.findall(name) if not re.fullmatch(r"[Vv]?\d*", word)]
    if set(words) & _OTHERWISE or (len(name) > 1 and name[0] == "I" and name[1].isupper()):
        return ""
    while len(words) > 1 and words[-1] in _AGAIN:
        words.pop()
    while len(words) > 2 and words[0] in _AGAIN:
        words.pop(0)
    return "".join(words) if len(words) > 1 and words[-1] in ROLES else ""


def copies(resolver: Resolver) -> dict[str, list[Copy]]:
    """Role to its classes, of those that have several; tests and what is not of one top package are apart."""
    found: dict[tuple[str, str], list[Copy]] = {}
    for module in resolver.index.modules:
        if is_test(module.path):
            continue
        for each in module.head.bindings:
            name = role(each.name) if each.kind == "c" and each.name[0] != "_" else ""
            if name:
                found.setdefault((module.name.partition(".")[0], name), []).append(Copy(module, each))
    return {
        f"{top}.{name}": sorted(several, key=lambda each: each.dotted)
        for (top, name), several in sorted(found.items())
        if len({each.dotted for each in several}) > 1
    }


def duplicates(resolver: Resolver, canonicals: Sequence[Canonical]) -> Iterator[Finding]:
    """One finding for each class that has the role of another, or the name; the chain lists them all."""
    settled = {each.symbol for each in canonicals} | {old for each in canonicals for old in each.deprecated}
    for full, several in copies(resolver).items():
        if all(each.dotted in settled for each in several):
            continue  # the configuration says which is the one
        name = full.rpartition(".")[2]
        chain = tuple(Hop(each.module.path, each.line, each.dotted) for each in several)
        same = len({each.name for each in several}) == 1
        for each in several:
            if each.dotted in settled:
                continue
            others = [other.dotted for other in several if other is not each]
            shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
            if same:
                rule, message = "U001", f"{each.name} is defined {len(several)} times: also as {shown}"
            else:
                rule, message = "U002", f"{each.name} is one of {len(several)} for the role {name}: there are {shown}"
            yield Finding(each.module.path, each.line, each.column + 1, rule, message, "warning", each.dotted, chain)


def is_test(path: str) -> bool:
    """Whether a file is a test, or stands among tests."""
    *folders, name = path.split("/")
    return (
        name.startswith("test_")
        or name.endswith("_test.py")
        or name == "conftest.py"
        or not {"test", "tests", "testing"}.isdisjoint(folders)
    )
