"""The repository as its architecture tests read it: Python files as trees, Markdown files as sections and tables."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "netra_apex"
DOCS = ROOT / "docs"
# docs/why tells what was weighed and left, too, so its names need not exist.
WHY = DOCS / "why"

_SKIPPED = frozenset({".git"} | {line.strip("/\n") for line in (ROOT / ".gitignore").read_text().splitlines()})
_CODE = re.compile(r"`([^`\n]+)`")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a Markdown file; `mark` is the comment above it, without its arrows."""

    path: Path
    line: int
    language: str
    mark: str
    text: str

    def __str__(self) -> str:
        return f"{name_of(self.path)}:{self.line}"


def name_of(path: Path) -> str:
    """A path as one writes it, from the repository's root."""
    return path.relative_to(ROOT).as_posix()


def files(*suffixes: str, under: Path = ROOT) -> Iterator[Path]:
    """The repository's own files: those that .gitignore does not name."""
    for path in sorted(under.iterdir()):
        if path.name in _SKIPPED or path.name.endswith(".egg-info"):
            continue
        if path.is_dir():
            yield from files(*suffixes, under=path)
        elif not suffixes or path.suffix in suffixes:
            yield path


@cache
def tree(path: Path) -> ast.Module:
    """A Python file, parsed."""
    return ast.parse(path.read_text("utf-8"), str(path))


def named(
    node: ast.AST, within: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]]:
    """Every class and function with its dotted name, nested ones included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Named):
            name = f"{within}.{child.name}" if within else child.name
            yield name, child
            yield from named(child, name)
        else:
            yield from named(child, within)


def documents() -> tuple[Path, ...]:
    """The Markdown files whose every word is to be true."""
    return (ROOT / "README.md", *(path for path in files(".md", under=DOCS) if WHY not in path.parents))


def sections(path: Path) -> dict[str, str]:
    """A Markdown file by heading, at any level; what stands in code blocks is no heading."""
    found: dict[str, list[str]] = {"": []}
    heading, fenced = "", False
    for line in path.read_text("utf-8").splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("#") and not fenced:
            heading = line.lstrip("#").strip()
            found.setdefault(heading, [])
        else:
            found[heading].append(line)
    return {heading: "\n".join(lines) for heading, lines in found.items()}


def rows(text: str) -> list[tuple[str, ...]]:
    """The rows of tables whose first cell is one or more names in backticks."""
    found = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines() if line[:1] == "|"
    ]
    return [row for row in found if row[0].startswith("`")]


def codes(text: str) -> list[str]:
    """Everything in backticks, fenced blocks left out."""
    return _CODE.findall(_FENCED.sub("", text))


def blocks(path: Path) -> Iterator[Block]:
    """The fenced blocks of a Markdown file."""
    lines = path.read_text("utf-8").splitlines()
    begun: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if begun is None:
            begun = number
            continue
        above = lines[begun - 1].strip() if begun else ""
        mark = above.removeprefix("<!--").removesuffix("-->").strip() if above.startswith("<!--") else ""
        yield Block(path, begun + 1, lines[begun].strip("`"), mark, "\n".join(lines[begun + 1 : number]) + "\n")
        begun = None
