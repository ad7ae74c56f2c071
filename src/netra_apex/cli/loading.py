"""Finding the application that a command was given: a file, `module:attribute`, a team, or the built-in demo team."""

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING

from netra_apex.errors import ConfigurationError

if TYPE_CHECKING:
    from netra_apex.agents import AgentRegistry

ATTRIBUTE = "registry"
DEMO = "netra_apex.demo:registry"


class ApplicationBroken(ConfigurationError):
    """The user's own code raised while it was imported; `lines` are those of the traceback that are his."""

    def __init__(self, source: str, error: BaseException, lines: str) -> None:
        super().__init__(source, error, lines)
        self.source = source
        self.error = error
        self.lines = lines

    def __str__(self) -> str:
        said = f"{type(self.error).__name__}: {self.error}".rstrip(": ")
        return f"{self.source} cannot be loaded: {said}" + (f"\n{self.lines}" if self.lines else "")


def load_registry(source: str | None) -> "AgentRegistry":
    """The registry of an application: `path/app.py[:name]`, `module:name` or `team.toml`; None is the demo team.

    Raises:
        ConfigurationError: there is no such file, module or attribute, it is no registry, or its code raises.
    """
    from netra_apex.agents import AgentRegistry, Team

    if source is not None and source.endswith(".toml"):
        return AgentRegistry([Team.from_toml(source)])
    place, _, attribute = (DEMO if source is None else source).partition(":")
    if not place:
        raise ConfigurationError(f"{source!r} names no application: name a file such as app.py, or module:{ATTRIBUTE}")
    module = _from_file(Path(place)) if _is_file(place) else _from_name(place)
    name = attribute or ATTRIBUTE
    found = getattr(module, name, None)
    if found is None:
        raise ConfigurationError(f"{place} has no {name}: write {name} = AgentRegistry([...]) in it")
    if not isinstance(found, AgentRegistry):
        raise ConfigurationError(f"{name} of {place} is {type(found).__name__}, not an AgentRegistry")
    return found


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or Path(place).is_file()


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigurationError(f"there is no file {path}")
    # Under its own name, so that its classes can be found again; a name that is taken belongs to another module.
    name = path.stem if path.stem not in sys.modules else f"netra_application_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[name] = module
    with _UsersCode(str(path), path.resolve().parent):
        spec.loader.exec_module(module)
    return module


def _from_name(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigurationError(f"{name!r} names no application: name a file such as app.py, or module:{ATTRIBUTE}")
    sys.path.insert(0, str(Path.cwd()))
    with _UsersCode(name, Path.cwd()):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            # Its own absence, or that of a package that it would be in; not that of something that it imports.
            if error.name is None or not f"{name}.".startswith(f"{error.name}."):
                raise
    raise ConfigurationError(f"there is no module {name!r}: name a file such as app.py, or module:{ATTRIBUTE}")


class _UsersCode:
    """Turns whatever somebody else's module raises into an error that shows him his own lines."""

    def __init__(self, source: str, folder: Path) -> None:
        self._source = source
        self._folder = folder

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception | SystemExit):
            raise ApplicationBroken(self._source, error, self._lines(error)) from error

    def _lines(self, error: BaseException) -> str:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if Path(frame.filename).is_relative_to(self._folder)]
        said = traceback.format_list(own or frames[-1:])
        if isinstance(error, SyntaxError):
            said += traceback.format_exception_only(error)[:-1]
        return "".join(said).rstrip()
