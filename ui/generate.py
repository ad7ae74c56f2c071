"""Writes what both ends of the wire share, as schemas: `python ui/generate.py`, then `npm run generate` in `ui/`.

`client/schema/events.json` is the JSON Schema of every frame that a server sends, of the same structs that the server
encodes; `client/schema/openapi.json` is the HTTP side. The TypeScript types are made of these two.
"""

import json
from pathlib import Path
from typing import Any

import msgspec

from netra_apex import AgentRegistry, ChatAgent, create_app
from netra_apex.client.frames import Answer
from netra_apex.core.events import DurableEvent, PassingFrame

FOLDER = Path(__file__).parent / "client" / "schema"
HERE = "#/$defs/{name}"


class Anybody(ChatAgent):
    """An application has at least one agent; none of it shows in its document."""

    name = "anybody"


def events() -> dict[str, Any]:
    """The frames of a socket and the events of a log."""
    kinds = {"DurableEvent": DurableEvent, "PassingFrame": PassingFrame, "Answer": Answer}
    unions, definitions = msgspec.json.schema_components(tuple(kinds.values()), ref_template=HERE)
    for definition in definitions.values():
        # What has a default is always sent; only what may be left out has none.
        properties = definition["properties"]
        required = set(definition.get("required", ()))
        definition["required"] = [name for name in properties if name in required or "default" in properties[name]]
    for name, union in zip(kinds, unions, strict=True):
        definitions[name] = {"title": name, "anyOf": union["anyOf"]}
    frames = [{"$ref": HERE.format(name=name)} for name in kinds]
    return {"title": "ServerFrame", "anyOf": frames, "$defs": dict(sorted(definitions.items()))}


def documents() -> dict[str, str]:
    """The documents by their file names, as text."""
    http = create_app(AgentRegistry([Anybody])).openapi()
    made = {"events.json": events(), "openapi.json": http}
    return {name: json.dumps(document, indent=1, ensure_ascii=False) + "\n" for name, document in made.items()}


def main() -> None:
    """Writes them."""
    for name, text in documents().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
