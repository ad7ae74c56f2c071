"""Which module a dotted name is, as CPython would find it: roots in their order, a package before a module."""

import sys
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

from netra_apex.migrate.cache import Stored
from netra_apex.migrate.facts import Binding, Body, Head, Import, Shared, body_of, head_of, shared_of


class Module:
    """A file as a module: its name under the innermost root that holds it, and its facts, decoded when asked for."""

    def __init__(self, path: str, name: str, root: str, stored: Stored) -> None:
        self.path = path
        self.name = name
        self.root = root
        self.package = path.endswith("__init__.py")
        self.stored = stored

    def __repr__(self) -> str:
        return f"<Module {self.name} at {self.path}>"

    @cached_property
    def head(self) -> Head:
        """What it imports and binds."""
        return head_of(self.stored.head)

    def body(self) -> Body:
        """What else is known of it; decoded each time, as few need it twice."""
        return body_of(self.stored.body)

    def shared(self) -> Shared:
        """What state it has and changes."""
        return shared_of(self.stored.body)

    @cached_property
    def names(self) -> Mapping[str, Binding]:
        """Every name that it binds. Of several bindings the last counts, but a stand-in of None counts least."""
        found: dict[str, Binding] = {}
        for binding in self.head.bindings:
            other = found.get(binding.name)
            if other is None or not _stands_in(binding, other, self.head):
                found[binding.name] = binding
        return found

    @cached_property
    def stars(self) -> tuple[Import, ...]:
        """Its star imports."""
        return tuple(each for each in self.head.imports if each.name == "*")

    @property
    def base(self) -> str:
        """The package that its relative imports begin at."""
        return self.name if self.package else self.name.rpartition(".")[0]


def _stands_in(binding: Binding, other: Binding, head: Head) -> bool:
    """Whether a later binding is only what stands in where an import failed."""
    if other.kind == "v":
        return False
    if binding.kind == "v":
        return binding.value == "None"
    if other.kind != "i" or binding.kind != "i":
        return False
    first: int = other.value
    second: int = binding.value
    return not head.imports[first].guard and bool(head.imports[second].guard)


class Index:
    """All modules of a tree by every name that they can be imported by."""

    def __init__(
        self, files: Mapping[str, Stored], others: Iterable[str], roots: tuple[str, ...], aliases: Mapping[str, str]
    ) -> None:
        self.roots = tuple(dict.fromkeys("" if root in (".", "") else root.strip("/") + "/" for root in roots))
        self.roots = self.roots or found_roots(files)
        self._aliases = tuple(aliases.items())
        self.modules: list[Module] = []
        self._by_name: dict[str, list[Module]] = {}
        self._folders: set[str] = set()
        self._opaque: set[str] = set()
        for path, stored in files.items():
            self._add(path, stored)
        for path in others:
            self._add_opaque(path)
        ranks = {root: rank for rank, root in enumerate(self.roots)}
        for modules in self._by_name.values():
            if len(modules) > 1:
                modules.sort(key=lambda each: (ranks.get(each.root, len(ranks)), not each.package, each.path))

    def _names(self, path: str) -> list[tuple[str, str]]:
        """(root, name) for each root that holds a path, the innermost first."""
        stem = path.removesuffix("/__init__.py").removesuffix(".py").partition(".cpython-")[0]
        found = [(root, stem[len(root) :].replace("/", ".")) for root in self.roots if path.startswith(root)]
        return sorted(found, key=lambda each: -len(each[0]))

    def _add(self, path: str, stored: Stored) -> None:
        names = self._names(path)
        root, name = names[0] if names else ("", path.removesuffix(".py").replace("/", "."))
        module = Module(path, sys.intern(name), root, stored)
        self.modules.append(module)
        for _, each in names:
            self._by_name.setdefault(sys.intern(each), []).append(module)
            folder = each.rpartition(".")[0]
            while folder and folder not in self._folders:
                self._folders.add(folder)
                folder = folder.rpartition(".")[0]

    def _add_opaque(self, path: str) -> None:
        stem = path.partition(".cpython-")[0].rpartition("/")
        plain = stem[2].partition(".")[0]
        for _, name in self._names(f"{stem[0]}/{plain}" if stem[0] else plain):
            self._opaque.add(name.removesuffix(".__init__"))
            folder = name.rpartition(".")[0]
            while folder and folder not in self._folders:
                self._folders.add(folder)
                folder = folder.rpartition(".")[0]

    def plain(self, name: str) -> str:
        """A name with its root alias, if it has one, written out."""
        for alias, real in self._aliases:
            if name == alias or name.startswith(f"{alias}."):
                return real + name[len(alias) :]
        return name

    def find(self, name: str, importer: Module | None = None) -> Module | None:
        """The module of a name, of several the one of the importer's own root."""
        modules = self._by_name.get(name)
        if modules is None:
            plain = self.plain(name)
            return self.find(plain, importer) if plain != name else None
        if importer is not None and len(modules) > 1:
            for module in modules:
                if module.root == importer.root:
                    return module
        return modules[0]

    def all_of(self, name: str) -> tuple[Module, ...]:
        """Every module that answers to a name, the one that is imported first."""
        return tuple(self._by_name.get(name, ()))

    def namespace(self, name: str) -> bool:
        """Whether a name is a folder with modules and no `__init__.py`."""
        return self.plain(name) in self._folders

    def opaque(self, name: str) -> bool:
        """Whether a name is, or stands in, a stub or a compiled module, of which nothing else is known."""
        if not self._opaque:
            return False
        name = self.plain(name)
        while name and name not in self._opaque:
            name = name.rpartition(".")[0]
        return bool(name)

    def absolute(self, importer: Module, level: int, module: str) -> str | None:
        """The absolute name of what an import says, or None where its dots lead out of the tree."""
        if not level:
            return module
        parts = importer.base.split(".") if importer.base else []
        if level - 1 > len(parts) or (not parts and level > 1):
            return None
        kept = parts[: len(parts) - level + 1]
        return ".".join([*kept, module] if module else kept)

    def named(self) -> Iterable[tuple[str, list[Module]]]:
        """Every name with the modules that answer to it."""
        return self._by_name.items()


def found_roots(files: Iterable[str]) -> tuple[str, ...]:
    """The folders that hold a package and are none: what is importable by its bare name, `src` among them."""
    packages = {path.removesuffix("__init__.py") for path in files if path.endswith("/__init__.py")}
    parents = {folder[:-1].rpartition("/")[0] for folder in packages}
    roots = {f"{parent}/" for parent in parents if parent and f"{parent}/" not in packages}
    # A package without `__init__.py` that holds packages looks like a root, but stands in one.
    roots = {root for root in roots if not any(root != other and root.startswith(other) for other in roots)}
    return ("", *sorted(roots, key=lambda root: (root != "src/", root.count("/"), root)))


class Environment:
    """What is installed beside the tree: the standard library, and the packages of a virtual environment."""

    def __init__(self, folder: Path, named: str) -> None:
        candidates = [folder / named] if named else [folder / ".venv", folder / "venv"]
        self._places = [place for each in candidates for place in sorted(each.glob("lib*/python*/site-packages"))]
        self.known = bool(self._places)
        self._tops = {
            entry.name.partition(".")[0] for place in self._places for entry in place.iterdir()
        } if self.known else set[str]()  # fmt: skip

    def key(self) -> bytes:
        """What names this state of it."""
        return "\0".join((*map(str, self._places), "", *sorted(self._tops))).encode("utf-8", "surrogatepass")

    def standard(self, name: str) -> bool:
        """Whether a name is of the standard library."""
        return name.partition(".")[0] in sys.stdlib_module_names or name == "__main__"

    def installed(self, name: str) -> bool | None:
        """Whether a package is installed, None where no environment is known."""
        return name.partition(".")[0] in self._tops if self.known else None
