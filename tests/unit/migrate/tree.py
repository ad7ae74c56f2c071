"""Small trees of files, audited."""

import textwrap
from pathlib import Path

from netra_apex.migrate.audit import Work, audit
from netra_apex.migrate.config import load


def write(folder: Path, files: dict[str, str]) -> Path:
    """Files with their folders; packages get their `__init__.py` where it is not among them."""
    for path, text in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(textwrap.dedent(text).lstrip("\n"), "utf-8")
        above = place.parent
        while above != folder and path.endswith(".py") and "plain" not in above.name:
            init = above / "__init__.py"
            if not init.exists() and init.relative_to(folder).as_posix() not in files:
                init.write_text("")
            above = above.parent
    return folder


def report(folder: Path, files: dict[str, str] | None = None, **work):
    """What an audit of a folder finds."""
    write(folder, files or {})
    return audit(folder, load(folder), Work(**{"jobs": 1, "cached": False, **work}))


def found(folder: Path, files: dict[str, str], *rules: str):
    """`path:line rule severity` of what an audit finds of some rules or families."""
    return [
        f"{each.path}:{each.line} {each.rule} {each.severity}"
        for each in report(folder, files).findings
        if not rules or each.rule.startswith(rules)
    ]
