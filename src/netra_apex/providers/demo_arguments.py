"""Values that satisfy a JSON Schema, made of a person's message where that is possible: the demo model's arguments."""

import re
from collections.abc import Mapping
from typing import Any, cast

Schema = Mapping[str, Any]

DEPTH = 8
EXPRESSION = re.compile(r"[-(]*\d[\d.\s]*(?:(?:\*\*|//|[-+*/%^×·÷])[\s(]*-?\d[\d.\s)]*)+")  # noqa: RUF001 - as people type
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_ZONE = re.compile(r"\b[A-Z][A-Za-z]+/[A-Z][A-Za-z_]+\b")
_FILE = re.compile(r"\bfil_\w+")
_MATHEMATICAL = ("expression", "formula", "calculation", "equation")
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "^": "**"})  # noqa: RUF001 - as people type
_FORMATS = {
    "date": "2026-01-01",
    "date-time": "2026-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "duration": "PT1H",
    "email": "ada@example.org",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def arguments_for(parameters: Schema, asked: str, *, files: str = "") -> dict[str, Any]:
    """Arguments for a tool: each required one, and a time zone where the message names one.

    A string is the message itself, or the expression in it where the parameter asks for one; a number is the first in
    the message; a `file_id` is the first that `files` names; the rest is as `example` has it.
    """
    required = set(cast("list[str]", parameters.get("required") or []))
    arguments: dict[str, Any] = {}
    for name, schema in cast("Mapping[str, Schema]", parameters.get("properties") or {}).items():
        zone = _ZONE.search(asked) if "zone" in name.lower() else None
        file_id = _FILE.search(files) if name == "file_id" else None
        if file_id:
            arguments[name] = file_id.group()
        elif zone:
            arguments[name] = zone.group()
        elif name in required:
            arguments[name] = _fill(schema, parameters, name, asked, 0)
    return arguments


def example(schema: Schema, asked: str = "demo") -> Any:
    """A small value that the schema allows; only what is required is in it."""
    return _fill(schema, schema, "", asked, 0)


def _fill(schema: Schema, root: Schema, name: str, asked: str, depth: int) -> Any:
    schema = _resolved(schema, root)
    if depth > DEPTH:
        return None
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        options = cast("list[Schema]", schema.get(key) or [])
        if options:
            chosen = next((option for option in options if option.get("type") != "null"), options[0])
            return _fill(chosen, root, name, asked, depth + 1)
    kind: Any = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in cast("list[str]", kind) if one != "null"), "null")
    match kind:
        case "string":
            return _string(schema, name, asked)
        case "integer" | "number":
            return _number(schema, asked, whole=kind == "integer")
        case "boolean":
            return True
        case "array":
            item = cast("Schema", schema.get("items") or {"type": "string"})
            return [_fill(item, root, name, asked, depth + 1) for _ in range(int(schema.get("minItems", 0)))]
        case "null":
            return None
        case _ if kind == "object" or "properties" in schema:
            properties = cast("Mapping[str, Schema]", schema.get("properties") or {})
            required = cast("list[str]", schema.get("required") or [])
            return {key: _fill(properties.get(key, {}), root, key, asked, depth + 1) for key in required}
        case _:
            return asked


def _resolved(schema: Schema, root: Schema) -> Schema:
    """Follows `$ref` inside the same document, as pydantic writes it: `#/$defs/Name`."""
    for _ in range(DEPTH):
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            break
        found: Any = root
        for key in reference[2:].split("/"):
            found = cast("Schema", found).get(key, {})
        schema = cast("Schema", found)
    return schema


def _string(schema: Schema, name: str, asked: str) -> str:
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    text = asked
    if any(word in name.lower() for word in _MATHEMATICAL):
        found = EXPRESSION.search(asked) or _NUMBER.search(asked)
        text = found.group().strip().translate(_SIGNS) if found else asked
    least = int(schema.get("minLength", 0))
    return text.ljust(least, ".")[: int(schema.get("maxLength", max(len(text), least)))]


def _number(schema: Schema, asked: str, *, whole: bool) -> float:
    found = _NUMBER.search(asked)
    value = float(found.group()) if found else 1.0
    if "exclusiveMinimum" in schema:
        value = max(value, schema["exclusiveMinimum"] + 1)
    if "exclusiveMaximum" in schema:
        value = min(value, schema["exclusiveMaximum"] - 1)
    value = min(
        max(value, schema.get("minimum", value)), schema.get("maximum", max(value, schema.get("minimum", value)))
    )
    return int(value) if whole else value
