"""What a plan consists of: edits of bytes, refusals, files, units that are applied together, and the plan itself.

All of it are values with a JSON form, in an order that depends on the tree alone. Nothing here reads or writes a file.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from netra_apex.migrate.faults import PlanUnreadable

VERSION = 1

# Reason codes of refusals, with what a maintainer does about each. The sentence of a refusal says more.
REASONS = {
    "ambiguous_binding": "The name may mean another thing at this place; bind it once.",
    "approximate": "The file is not one that this Python parses; run the plan with a newer one.",
    "capture": "The new name already means something in a scope that uses the old one.",
    "compares_old_and_new": "The file uses both the old and the new one; decide by hand which it is about.",
    "call_shape": "The text of the call cannot be changed without touching a comment.",
    "coupled": "Another file that has to change in the same step cannot be changed.",
    "dynamic_arguments": "The call passes * or **, so nobody can say what binds to what.",
    "dynamic_use": "The name is looked up by a string, or in globals(); move it by hand.",
    "expects_failure": "The test says that the construction fails; look at what it should say of the new one.",
    "import_shape": "The import cannot be split without moving a comment or other code.",
    "invalid_call": "The call does not bind to the old signature, so it says nothing of the new one.",
    "import_place": "The new module cannot be imported where the old one is.",
    "missing_argument": "The new signature needs an argument that the call does not have; it is never invented.",
    "missing_member": "The new class is not known to have this attribute.",
    "no_phase": "No phase of the configuration includes the file.",
    "not_bound": "The call would not bind to the new signature.",
    "patched_object": "What a test patches or spies is the old class itself; say what the new one should do.",
    "public_name": "The name is public (`__all__`, a package's facade) and outside callers build it the old way.",
    "star_import": "The name comes by `import *`; name what is imported.",
    "subclass": "A class inherits from the old one; its constructor and overrides are moved by hand.",
    "unencodable": "The new text cannot be written in the file's encoding.",
    "unknown_signature": "What a call takes is not known from the tree: a decorator, a metaclass, a foreign base.",
    "unproven": "After the edits the file would not mean what was meant; this is a fault of the planner, told.",
    "value_use": "The class itself is passed on, so its caller's arguments cannot be seen.",
}


def digest(data: bytes) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Edit:
    """Bytes `start` up to `end` (of the file as it is, BOM included) become `after`.

    `before` is what stands there, decoded; `kind` says what it is for; `proof` how the name was resolved.
    """

    start: int
    end: int
    line: int
    before: str
    after: str
    kind: str
    proof: str


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Refusal:
    """A use of the old that is left as it is; `code` is of REASONS, `candidates` what a person could put there."""

    path: str
    line: int
    column: int
    code: str
    symbol: str
    message: str
    candidates: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEdits:
    """All edits of a file, in order, with the hashes of the file before and after them."""

    path: str
    encoding: str
    before_sha: str
    after_sha: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Files that change together or not at all; `ident` is the first path. `phase` is where it belongs."""

    ident: str
    phase: str
    files: tuple[FileEdits, ...]

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of its files."""
        return tuple(file.path for file in self.files)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Units in the order in which they are to be applied, and what is left to people."""

    units: tuple[Unit, ...] = ()
    refusals: tuple[Refusal, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do and nothing to tell."""
        return not self.units and not self.refusals

    @property
    def edits(self) -> int:
        """How many edits there are."""
        return sum(len(file.edits) for unit in self.units for file in unit.files)

    def to_json(self) -> dict[str, Any]:
        """The plan as `netra migrate plan --json` prints it; the same tree gives the same bytes."""
        return {
            "version": VERSION,
            "units": [asdict(unit) for unit in self.units],
            "refusals": [asdict(refusal) for refusal in self.refusals],
        }


def read_plan(text: str) -> Plan:
    """The plan of what `to_json` wrote.

    Raises:
        PlanUnreadable: it is not such a document, or of another version.
    """
    try:
        document: dict[str, Any] = json.loads(text)
        if document["version"] != VERSION:
            raise PlanUnreadable(f"it is of version {document['version']}, and this netra reads {VERSION}")
        return Plan(
            units=tuple(
                Unit(ident=unit["ident"], phase=unit["phase"], files=tuple(file_edits(file) for file in unit["files"]))
                for unit in document["units"]
            ),
            refusals=tuple(
                Refusal(**(refusal | {"candidates": tuple(refusal["candidates"])})) for refusal in document["refusals"]
            ),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise PlanUnreadable(f"{type(error).__name__}: {error}") from error


def file_edits(value: dict[str, Any]) -> FileEdits:
    """The edits of a file from their JSON form."""
    whole: dict[str, Any] = {**value, "edits": tuple(Edit(**edit) for edit in value["edits"])}
    return FileEdits(**whole)


def ordered(units: Iterable[Unit], phases: Sequence[str]) -> tuple[Unit, ...]:
    """Units by the order of their phases, then by path."""
    rank = {name: place for place, name in enumerate(phases)}
    return tuple(sorted(units, key=lambda unit: (rank.get(unit.phase, len(rank)), unit.ident)))
