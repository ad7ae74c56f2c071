"""`netra new`: a folder to begin with."""

import re
from pathlib import Path
from typing import Annotated

import typer

from netra_apex.cli.terminal import tell
from netra_apex.errors import ConfigurationError

_FILES = {
    "app.py": "app.py.txt",
    "README.md": "README.md.txt",
    ".env.example": "env.example.txt",
    ".gitignore": "gitignore.txt",
    "pyproject.toml": "pyproject.toml.txt",
    "tests/test_app.py": "test_app.py.txt",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def new(name: Annotated[str, typer.Argument(metavar="NAME", help="The folder to make.")]) -> None:
    """Make a folder with an application to begin with."""
    folder = Path(name)
    if not _NAME.fullmatch(folder.name):
        raise ConfigurationError(f"{name!r} is no name for a folder: use letters, digits, . _ and -")
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigurationError(f"the folder {name} is not empty: name one that is, or one that is not there yet")
    if folder.exists() and not folder.is_dir():
        raise ConfigurationError(f"{name} is a file")
    source = Path(__file__).parent / "scaffold"
    try:
        for target, template in _FILES.items():
            path = folder / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text((source / template).read_text("utf-8").replace("PROJECT_NAME", folder.name), "utf-8")
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be written: {error.strerror}") from error
    tell(f"made {name}: next, cd {name} && netra serve app.py")
