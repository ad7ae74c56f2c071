"""Ready tools with which a model looks into the files of its thread: `tools = (list_files, read_file)`."""

import asyncio
import codecs
from typing import Annotated, Any

from pydantic import Field

from netra_apex.core.scope import RunScope
from netra_apex.errors import CallFailed, NotFound
from netra_apex.tools.tool import tool

MOST_LINES = 2_000


@tool(idempotent=True)
async def list_files(*, scope: RunScope) -> list[dict[str, Any]]:
    """List the files of this conversation, oldest first."""
    return [
        {"file_id": file.file_id, "name": file.name, "media_type": file.media_type, "size": file.size}
        for file in await scope.store.files.list()
    ]


@tool(idempotent=True)
async def read_file(
    file_id: Annotated[str, Field(description="The id of a file of this conversation")],
    start_line: Annotated[int, Field(ge=1, description="The first line to read; the file's first is 1")] = 1,
    lines: Annotated[int, Field(ge=1, le=MOST_LINES, description="How many lines to read")] = 200,
    *,
    scope: RunScope,
) -> dict[str, Any]:
    """Read lines of a text file of this conversation."""
    try:
        data = await scope.store.files.read(file_id)
    except NotFound as error:
        raise CallFailed("error", f"{error} in this conversation") from error
    # In a thread: the lines of a large file are a moment's work, and everybody else's runs are on this loop.
    found = await asyncio.to_thread(_lines, data)
    if found is None:
        raise CallFailed("error", "the file is no text in UTF-8 or UTF-16")
    read = found[start_line - 1 : start_line - 1 + lines]
    return {"start_line": start_line, "lines": len(read), "lines_in_file": len(found), "text": "\n".join(read)}


def _lines(data: bytes) -> list[str] | None:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\x00" in text else text.splitlines()
