"""What a project says of itself: `ssot.toml`, or `[tool.netra.audit]` of `pyproject.toml`, as frozen values.

Every key is known: one that is misspelled is told, since a rule that silently does nothing is worse than none.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, cast, get_args

from netra_apex.errors import ConfigurationError

FILE = "ssot.toml"
TABLE = "tool.netra.audit"
PRESETS = Path(__file__).parent / "presets"

Check = Literal["abstract", "async", "positional"]
Commit = Literal["none", "batch", "phase"]
Severity = Literal["error", "warning", "note"]

T = TypeVar("T")


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """Where the code is; paths and globs are relative to the folder of the configuration, with `/`."""

    # Folders whose children are importable by their bare name, the first wins; none means those that are found.
    roots: tuple[str, ...] = ()
    root_aliases: Mapping[str, str] = field(
        default_factory=_nothing
    )  # a name that stands for another: `app` for `backend.app`
    exclude: tuple[str, ...] = ()
    entry: tuple[str, ...] = ()  # modules and packages that request code comes in by
    environment: str = ""  # folder of the virtual environment; empty means `.venv` or `venv` if there is one


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """How a call of what is deprecated becomes a call of the canonical symbol."""

    to: str = ""  # a factory method of the canonical symbol; empty is the class itself
    params: tuple[str, ...] = ()  # what the new call takes, in order
    rename: Mapping[str, str] = field(default_factory=_nothing)  # old parameter to new
    required: tuple[str, ...] = ()  # never invented: a call that lacks one is refused
    drop: tuple[str, ...] = ()  # old parameters that the new call has no more
    defaults: Mapping[str, str] = field(
        default_factory=_nothing
    )  # new parameter to the expression that is written where it is missing


@dataclass(frozen=True, kw_only=True, slots=True)
class Canonical:
    """The one symbol of a role, and what it takes the place of; `pkg.module.*` is every public name of a module."""

    symbol: str
    role: str = ""
    deprecated: tuple[str, ...] = ()
    call: Call | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Forbid:
    """A pattern of code that nobody may write, matched after names are resolved; files of `except` may."""

    pattern: str
    message: str = ""
    excepted: tuple[str, ...] = ()  # `except` in the file
    severity: Severity = "warning"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """A base class, and what is checked of every class below it."""

    base: str
    check: tuple[Check, ...] = get_args(Check)


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A part of the migration: which files, in which order and how many at once, and what says that they still work.

    `timeout` is in seconds and bounds one validation; `{files}` in `validate` stands for the files of a batch.
    """

    name: str
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    priority: int = 0  # the lower first; phases of one priority in the order of the file
    batch: int = 10
    validate: str = ""
    timeout: float = 600.0
    retries: int = 1  # of a validation that fails, for tests that are flaky
    stop_after_failures: int = 3
    commit: Commit = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """All of it; `source` is the file that it was read from, or None where there is none."""

    project: Project = field(default_factory=Project)
    canonicals: tuple[Canonical, ...] = ()
    forbids: tuple[Forbid, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    phases: tuple[Phase, ...] = ()
    source: Path | None = None

    @property
    def ordered_phases(self) -> tuple[Phase, ...]:
        """The phases as they are carried out."""
        return tuple(sorted(self.phases, key=lambda phase: phase.priority))


def load(folder: Path, file: Path | None = None) -> Configuration:
    """The configuration of a folder: `file`, else its `ssot.toml`, else the table of its `pyproject.toml`, else none.

    Raises:
        ConfigurationError: it cannot be read, or says what cannot be; with the file and the key.
    """
    if file is not None or (folder / FILE).is_file():
        path = file or folder / FILE
        return parse(_toml(path), path)
    path = folder / "pyproject.toml"
    if path.is_file():
        table: Any = _toml(path)
        for key in TABLE.split("."):
            table = cast("dict[str, Any]", table).get(key) if isinstance(table, dict) else None
        if table is not None:
            return parse(table, path)
    return Configuration()


def preset(name: str) -> Configuration:
    """Rules that come with this package, such as `netra-apex`.

    Raises:
        ConfigurationError: there is none of that name.
    """
    known = sorted(path.stem for path in PRESETS.glob("*.toml"))
    if name not in known:
        raise ConfigurationError(f"there is no preset {name!r}; there are {', '.join(known)}")
    path = PRESETS / f"{name}.toml"
    return parse(_toml(path), path)


def joined(own: Configuration, more: Configuration) -> Configuration:
    """A project's own configuration with the rules of a preset behind it."""
    return replace(
        own,
        canonicals=own.canonicals + more.canonicals,
        forbids=own.forbids + more.forbids,
        interfaces=own.interfaces + more.interfaces,
        phases=own.phases or more.phases,
    )


def parse(table: Any, path: Path) -> Configuration:
    """A configuration out of the tables of a TOML file.

    Raises:
        ConfigurationError: a key is unknown, missing, or of the wrong kind.
    """
    read = _Reader(path)
    top = read.table(table, "", {"project", "canonical", "forbid", "interface", "phase"})
    configuration = Configuration(
        project=read.record(Project, top.get("project", {}), "project"),
        canonicals=tuple(read.canonical(each, where) for each, where in read.tables(top, "canonical")),
        forbids=tuple(read.forbid(each, where) for each, where in read.tables(top, "forbid")),
        interfaces=tuple(read.record(Interface, each, where) for each, where in read.tables(top, "interface")),
        phases=tuple(read.record(Phase, each, where) for each, where in read.tables(top, "phase")),
        source=path,
    )
    read.check(configuration)
    return configuration


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path} is no TOML: {error}") from error


class _Reader:
    """Turns tables into records, and says of what is wrong which key it is."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def wrong(self, where: str, reason: str) -> ConfigurationError:
        """What is raised for a key."""
        return ConfigurationError(f"{self._path}: {where or 'the file'}: {reason}")

    def table(self, value: Any, where: str, known: set[str]) -> dict[str, Any]:
        """A table whose keys are all known."""
        if not isinstance(value, dict):
            raise self.wrong(where, "is to be a table")
        found = cast("dict[str, Any]", value)
        for key in found:
            if key not in known:
                raise self.wrong(f"{where}.{key}".strip("."), f"is not known; known are {', '.join(sorted(known))}")
        return found

    def tables(self, top: dict[str, Any], key: str) -> list[tuple[Any, str]]:
        """The tables of an array, each with how it is called in a message."""
        value: Any = top.get(key, [])
        if not isinstance(value, list):
            raise self.wrong(key, f"is to be an array of tables: [[{key}]]")
        return [(each, f"{key}[{number}]") for number, each in enumerate(cast("list[Any]", value))]

    def record(self, kind: type[T], value: Any, where: str) -> T:
        """A dataclass out of a table whose keys are its fields."""
        kinds = {each.name: each.type for each in fields(cast("Any", kind))}
        table = self.table(value, where, set(kinds))
        given = {key: self._value(kinds[key], each, f"{where}.{key}") for key, each in table.items()}
        try:
            return kind(**given)
        except TypeError as error:
            raise self.wrong(where, f"something is missing: {error}") from error

    def canonical(self, value: Any, where: str) -> Canonical:
        """A `[[canonical]]`, whose `call` is a table of its own."""
        table = dict(self.table(value, where, {each.name for each in fields(Canonical)}))
        call = table.pop("call", None)
        read = self.record(Canonical, table, where)
        return read if call is None else replace(read, call=self.record(Call, call, f"{where}.call"))

    def forbid(self, value: Any, where: str) -> Forbid:
        """A `[[forbid]]`, whose `except` is no name in Python."""
        table = dict(self.table(value, where, {"pattern", "message", "except", "severity"}))
        if "except" in table:
            table["excepted"] = table.pop("except")
        return self.record(Forbid, table, where)

    def _value(self, kind: Any, value: Any, where: str) -> Any:
        if kind is str and isinstance(value, str):
            return value
        if kind is int and isinstance(value, int) and not isinstance(value, bool):
            return value
        if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        items = cast("list[Any]", value) if isinstance(value, list) else None
        if items is not None and all(isinstance(each, str) for each in items):
            if kind == tuple[str, ...]:
                return tuple(items)
            if kind == tuple[Check, ...] and not set(items) - set(get_args(Check)):
                return tuple(items)
        if kind == Mapping[str, str] and isinstance(value, dict):
            pairs = cast("dict[str, Any]", value)
            if all(isinstance(each, str) for each in pairs.values()):
                return MappingProxyType(dict(pairs))
        if kind in (Severity, Commit) and isinstance(value, str) and value in get_args(kind):
            return value
        raise self.wrong(where, f"{value!r} is not {_said(kind)}")

    def check(self, read: Configuration) -> None:
        """What each record alone cannot know.

        Raises:
            ConfigurationError: a number that makes no sense, a name twice, or a symbol that is its own successor.
        """
        for number, phase in enumerate(read.phases):
            where = f"phase[{number}]"
            if phase.batch < 1 or phase.timeout <= 0 or phase.retries < 0 or phase.stop_after_failures < 1:
                raise self.wrong(where, "batch, timeout and stop_after_failures are to be above zero")
            if any(phase.name == other.name for other in read.phases[:number]):
                raise self.wrong(where, f"there are two phases {phase.name!r}")
        for number, canonical in enumerate(read.canonicals):
            if canonical.symbol in canonical.deprecated:
                raise self.wrong(f"canonical[{number}]", f"{canonical.symbol} is deprecated in favour of itself")
            for old in canonical.deprecated:
                if not all(part.isidentifier() for part in old.removesuffix(".*").split(".")):
                    raise self.wrong(f"canonical[{number}].deprecated", f"{old!r} is no dotted name")


def _said(kind: Any) -> str:
    """What a key takes, in words."""
    if kind in (Severity, Commit):
        return "one of " + ", ".join(get_args(kind))
    if kind == tuple[Check, ...]:
        return "a list of " + ", ".join(get_args(Check))
    known = {str: "text", int: "a whole number", float: "a number", tuple[str, ...]: "a list of texts"}
    return known.get(kind, "a table of texts")
