"""An audit from end to end: scan, facts, resolve, rules; what is known of the same files is told from the cache."""

import gc
import marshal
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from netra_apex.migrate import rules_cycles, rules_imports, rules_interfaces, rules_patterns, rules_roles, rules_state
from netra_apex.migrate.cache import FOLDER, Cache, digest, version
from netra_apex.migrate.config import Configuration
from netra_apex.migrate.findings import Finding, Report, Unparsed, from_row
from netra_apex.migrate.gather import Gathered, Progress, gather, states
from netra_apex.migrate.modules import Environment, Index
from netra_apex.migrate.references import analyse
from netra_apex.migrate.resolve import Resolver
from netra_apex.migrate.rules_deprecated import Deprecated
from netra_apex.migrate.rules_state import reachable
from netra_apex.migrate.scan import scan
from netra_apex.migrate.source import Source
from netra_apex.migrate.suppressing import suppressed
from netra_apex.migrate.usage import Deprecations, Meanings


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """How an audit is carried out, which changes nothing of what it finds."""

    jobs: int = 0  # processes; 0 is one for each core
    cached: bool = True
    progress: Progress = lambda done, total: None


def audit(folder: Path, configuration: Configuration, work: Work) -> Report:
    """Every finding in a folder, of every rule; what a comment suppresses is left out."""
    with Cache(folder / FOLDER if work.cached else None) as cache, _without_collector():
        scanned = scan(folder, configuration.project.exclude)
        known = states(folder, scanned.files, cache)
        environment = Environment(folder, configuration.project.environment)
        around = digest(
            version().encode(), _rules_version(), repr(configuration).encode(), repr(scanned.others).encode(),
            environment.key(),
        )  # fmt: skip
        key = known.key()
        before = None if key is None else cache.report(digest(around, key))
        if before is not None:
            work.progress(len(scanned.files), len(scanned.files))
            return _decoded(before)
        gathered = gather(folder, known, cache, work.jobs or cores(), work.progress)
        index = Index(gathered.files, scanned.others, configuration.project.roots, configuration.project.root_aliases)
        report = _report(folder, gathered, Resolver(index, environment), configuration)
        cache.keep_report(digest(around, gathered.key()), _encoded(report))
        return report


def resolved(folder: Path, configuration: Configuration, work: Work) -> Resolver:
    """The modules and names of a folder, for who asks more of them than the rules do."""
    with Cache(folder / FOLDER if work.cached else None) as cache, _without_collector():
        scanned = scan(folder, configuration.project.exclude)
        known = states(folder, scanned.files, cache)
        gathered = gather(folder, known, cache, work.jobs or cores(), work.progress)
        index = Index(gathered.files, scanned.others, configuration.project.roots, configuration.project.root_aliases)
        return Resolver(index, Environment(folder, configuration.project.environment))


def cores() -> int:
    """How many processes there is room for."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _report(folder: Path, gathered: Gathered, resolver: Resolver, configuration: Configuration) -> Report:
    reached = reachable(resolver, configuration.project.entry)
    findings = list(_findings(folder, resolver, configuration, reached))
    findings += [Finding(path, 1, 1, "E002", reason, "error", reason) for path, reason in gathered.unread.items()]
    if reached is not None:
        findings = _by_reach(findings, resolver, reached)
    findings = suppressed(sorted(set(findings)), resolver.index.modules)
    unparsed = [
        Unparsed(module.path, module.head.fault.reason)
        for module in resolver.index.modules
        if module.head.fault is not None
    ]
    unparsed += [Unparsed(path, reason) for path, reason in gathered.unread.items()]
    return Report(
        tuple(sorted(set(findings))),
        len(gathered.files) + len(gathered.unread),
        tuple(sorted(unparsed, key=lambda each: each.path)),
    )


def _findings(
    folder: Path, resolver: Resolver, configuration: Configuration, reached: frozenset[str] | None
) -> Iterator[Finding]:
    yield from rules_imports.unresolved(resolver)
    yield from rules_imports.shadowed(resolver)
    yield from rules_imports.unparsed(resolver)
    yield from rules_cycles.cycles(resolver)
    yield from rules_roles.duplicates(resolver, configuration.canonicals)
    yield from rules_state.shared(resolver, reached)
    yield from rules_interfaces.conformance(resolver, configuration.interfaces)
    yield from _read_again(folder, resolver, configuration)


def _read_again(folder: Path, resolver: Resolver, configuration: Configuration) -> Iterator[Finding]:
    """D, S and P: the few files that can have what is configured are parsed a second time, for their expressions."""
    deprecations = Deprecations(resolver, configuration.canonicals)
    deprecated = Deprecated(resolver, deprecations) if deprecations else None
    patterns = rules_patterns.compiled(configuration.forbids)
    if deprecated is not None:
        yield from deprecated.imports()
    for module in resolver.index.modules:
        if module.head.fault is not None:
            continue
        uses = deprecated is not None and (deprecated.asks_for(module) or deprecated.named(module))
        if not uses and not patterns:
            continue
        try:
            source = Source((folder / module.path).read_bytes())
            asked = [pattern for pattern in patterns if pattern.asks_for(module, source.data)]
            if not uses and not asked:
                continue
            analysis = analyse(source.tree)
        except (OSError, SyntaxError, ValueError, RecursionError) as error:
            yield Finding(module.path, 1, 1, "E002", f"it changed meanwhile: {error}", "error", "changed")
            continue
        meanings = Meanings(resolver, module, analysis)
        if deprecated is not None and uses:
            yield from deprecated.uses(module, source, meanings)
            yield from deprecated.texts(module, source, analysis.texts)
        if asked:
            yield from rules_patterns.matches(asked, module, source, meanings)


def _by_reach(findings: list[Finding], resolver: Resolver, reached: frozenset[str]) -> list[Finding]:
    """R and D one step softer in modules that nothing loads with the entries: they break no request."""
    names = {module.path: module.name for module in resolver.index.modules}
    return [
        each.softer() if each.rule[0] in "RD" and names.get(each.path) not in reached else each for each in findings
    ]


def _rules_version() -> bytes:
    """What findings depend on besides facts: the code of this room."""
    here = Path(__file__).parent
    return digest(*(path.read_bytes() for path in sorted(here.glob("*.py"))))


def _encoded(report: Report) -> bytes:
    unparsed = tuple((each.path, each.reason) for each in report.unparsed)
    return marshal.dumps((tuple(each.row() for each in report.findings), report.files, unparsed))


def _decoded(data: bytes) -> Report:
    rows, files, unparsed = marshal.loads(data)  # noqa: S302 - our own cache, checked by digest
    return Report(tuple(map(from_row, rows)), files, tuple(Unparsed(*each) for each in unparsed))


@contextmanager
def _without_collector() -> Generator[None]:
    """A million small values that stay need no collector that walks over them again and again."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
