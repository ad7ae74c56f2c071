"""How a tool's function is found again in another process: by its module and its name there."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import Any

import msgspec

from netra_apex.errors import CallFailed, ToolDefinitionError

MAIN = "__netra_main__"
"""What a program's own file is called in a tool's process, so that what it does as `__main__` is not done there."""


_FORKED = "netra_apex.tools.forked"
"""Which only a tool's process imports."""


class Place(msgspec.Struct, frozen=True):
    """A module, by its name and, where it is of a file, that file: one that was loaded from it may have any name.

    `main`: to the server it is `__main__`, and so it is what its classes say that they are of.
    """

    module: str
    file: str | None
    main: bool


def check_reach(function: Callable[..., Any]) -> None:
    """What can be known of a function's reach before its module is complete.

    Raises:
        ToolDefinitionError: no other process can find it.
    """
    name = function.__name__
    if sys.platform != "linux":
        raise ToolDefinitionError(name, "isolated tools need Linux")
    if "<locals>" in function.__qualname__:
        raise ToolDefinitionError(name, "it is isolated and defined inside a function; define it in a module")
    module = sys.modules.get(function.__module__)
    if module is None or (module.__spec__ is None and getattr(module, "__file__", None) is None):
        reason = f"it is isolated, and no other process can import its module {function.__module__}"
        raise ToolDefinitionError(name, reason)


def place_of(made: Callable[..., Any], function: Callable[..., Any]) -> Place:
    """Where a tool, that was made of this function, is to be found.

    Raises:
        CallFailed: `error`, something else stands under the function's name in its module, or nothing; or this is a
            tool's process itself.
    """
    if _FORKED in sys.modules:
        # A program that runs when it is imported would start itself again and again.
        reason = "while a tool's process imported its module; put what runs under `if __name__ == '__main__':`"
        raise CallFailed("error", f"{function.__name__} was called {reason}")
    module = sys.modules[function.__module__]
    if _at(module, function.__qualname__) is not made:
        reason = f"{function.__module__} has another {function.__qualname__} than this tool, or none"
        raise CallFailed("error", f"no other process can find {function.__name__}: {reason}")
    spec, file = module.__spec__, getattr(module, "__file__", None)
    # A program that was started with -m is a module like any other.
    name = spec.name if spec is not None else function.__module__
    main = function.__module__ == "__main__"
    return Place(MAIN if name == "__main__" else name, file if file is None else os.path.realpath(file), main)


def load(place: Place) -> ModuleType:
    """The module, imported if it is not yet.

    Raises:
        ImportError: there is none.
        Exception: whatever its code raises.
    """
    module = sys.modules.get(place.module)
    if module is None:
        module = _import(place.module, place.file)
    if place.main:
        sys.modules["__main__"] = module
    return module


def found_in(module: ModuleType, name: str) -> Any:
    """What has this qualified name in the module.

    Raises:
        ImportError: nothing has.
    """
    found = _at(module, name)
    if found is None:
        raise ImportError(f"{module.__name__} has no {name} in a tool's process")
    return found


def _import(name: str, file: str | None) -> ModuleType:
    if file is None or file == _file_by_name(name):
        return importlib.import_module(name)
    loader = SourceFileLoader(name, file)
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert spec is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _at(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _file_by_name(module: str) -> str | None:
    """The file that this module would be imported from."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    return None if spec is None or spec.origin is None else os.path.realpath(spec.origin)
