"""R, M and E: imports that lead nowhere, modules that hide each other, files that do not parse."""

from collections.abc import Iterator

from netra_apex.migrate.config import Severity
from netra_apex.migrate.facts import Guard, Import
from netra_apex.migrate.findings import Finding
from netra_apex.migrate.modules import Module
from netra_apex.migrate.resolve import Kind, Resolver, Target


def unresolved(resolver: Resolver) -> Iterator[Finding]:
    """R: hard where the import is carried out as the module is loaded, softer behind every guard."""
    for module in resolver.index.modules:
        told: tuple[str, int, int] | None = None
        for each in module.head.imports:
            target = resolver.imported(module, each)
            if not target.missing:
                continue
            # A module that is not there is told once for all the names that are taken from it.
            same = (each.module, each.level, each.guard) if target.kind is Kind.NO_MODULE else None
            if same is None or same != told:
                yield _unresolved(resolver, module, each, target)
            told = same


def _unresolved(resolver: Resolver, module: Module, each: Import, target: Target) -> Finding:
    severity, when = fails(each.guard)
    written = "." * each.level + each.module
    if target.kind is Kind.NO_NAME:
        rule, what = "R002", f"{written} has no {each.name}"
        subject = f"{written}.{each.name}"
    else:
        top = target.name.partition(".")[0]
        installed = not each.level and resolver.index.find(top) is None and not resolver.index.namespace(top)
        rule, what = ("R003", f"{top} is not installed") if installed else ("R001", f"there is no module {target.name}")
        subject = written
    if module.head.approximate:
        severity, when = "note", "in a file that does not parse"
    return Finding(module.path, each.line, each.column + 1, rule, f"{what}: {when}", severity, subject, target.hops)


def fails(guard: int) -> tuple[Severity, str]:
    """How bad an import that fails is behind its guards, and when it does."""
    if guard & (Guard.TRY | Guard.HANDLER):
        return "note", "it fails behind a guard"
    if guard & Guard.TYPING:
        return "warning", "a type checker cannot follow it"
    if guard & Guard.FUNCTION:
        return "warning", "it fails when the function is called"
    if guard & Guard.BRANCH:
        return "warning", "it fails where the branch is taken"
    return "error", "the module cannot be loaded"


def shadowed(resolver: Resolver) -> Iterator[Finding]:
    """M: modules that are never imported, or are in place of others."""
    index, environment = resolver.index, resolver.environment
    for name, modules in index.named():
        first = modules[0]
        for other in modules[1:]:
            if other.root == first.root and other.path != first.path:
                message = f"the package {first.path} hides it: both are {name}"
                yield Finding(other.path, 1, 1, "M001", message, "error", name)
            elif other.root != first.root and name == other.name and "." not in name and first.name == name:
                message = f"{first.path} comes first: both are {name}"
                yield Finding(other.path, 1, 1, "M003", message, "note", name)
        if "." not in name and environment.standard(name) and name not in ("__main__", "test", "tests"):
            for module in modules:
                if module.name == name and not _is_the_library(module, resolver):
                    message = f"the standard library has a module {name}, which this one hides"
                    yield Finding(module.path, 1, 1, "M002", message, "warning", name)


def _is_the_library(module: Module, resolver: Resolver) -> bool:
    """Whether a root is a standard library: it has the modules that no project writes."""
    return all(
        (found := resolver.index.find(name)) and found.root == module.root for name in ("os", "sysconfig", "codecs")
    )


def unparsed(resolver: Resolver) -> Iterator[Finding]:
    """E: files of which only lines are known."""
    for module in resolver.index.modules:
        fault = module.head.fault
        if fault is not None:
            message = f"{fault.reason}; only its import lines are known"
            yield Finding(module.path, fault.line, fault.column + 1, "E001", message, "error", fault.reason)
