"""What both ends of the wire share is written down once, and the written schemas are the server's own."""

import importlib.util
from pathlib import Path

import pytest

UI = Path(__file__).parents[2] / "ui"
SPEC = importlib.util.spec_from_file_location("generate", UI / "generate.py")
assert SPEC is not None
assert SPEC.loader is not None
generate = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(generate)


@pytest.mark.parametrize("name", ["events.json", "openapi.json"])
def test_the_schemas_of_the_typescript_client_are_the_servers(name: str) -> None:
    written = (UI / "client" / "schema" / name).read_text(encoding="utf-8")
    assert written == generate.documents()[name], "run `python ui/generate.py`, then `npm run generate` in ui/"
