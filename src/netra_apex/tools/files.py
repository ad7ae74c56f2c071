"""Ready tools with which a model looks into the files of its thread: `tools = (list_files, read_file)`."""

import asyncio
import codecs
import io
from typing import Annotated, Any

from pydantic import Field

from netra_apex.core.scope import RunScope
from netra_apex.errors import CallFailed, NotFound
from netra_apex.tools.tool import tool

MOST_LINES = 2_000
MOST_CHARACTERS = 256 * 1024  # that are read at once: a file may be one long line
CUT = "… [cut]"
SLICE_BYTES = 256 * 1024


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
    found = await asyncio.to_thread(lines_in, data, start_line, lines)
    if found is None:
        raise CallFailed("error", "the file is no text in UTF-8 or UTF-16")
    text, count = found
    read = max(0, min(lines, count - start_line + 1))
    return {"start_line": start_line, "lines": read, "lines_in_file": count, "text": text}


def lines_in(data: bytes, start: int, lines: int) -> tuple[str, int] | None:
    """(so many lines from this one on, how many there are in all); None where it is no text.

    Slice by slice: a thread that is in one call for long lets no other work.
    """
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    decoder = codecs.getincrementaldecoder("utf-16" if wide else "utf-8-sig")()
    read = io.IncrementalNewlineDecoder(decoder, translate=True)
    number, ended, room = 1, True, MOST_CHARACTERS
    kept: list[str] = []
    for at in range(0, len(data), SLICE_BYTES):
        try:
            text = read.decode(data[at : at + SLICE_BYTES], at + SLICE_BYTES >= len(data))
        except UnicodeDecodeError:
            return None
        if "\x00" in text:
            return None
        following = number + text.count("\n")
        if number < start + lines and following >= start and room > 0:
            kept.append("\n".join(text.split("\n")[max(0, start - number) : start + lines - number])[:room])
            room -= len(kept[-1])
        number, ended = following, text.endswith("\n") if text else ended
    found = "".join(kept) if room > 0 else "".join(kept) + CUT
    # After the last line's end there is no other line.
    return found.removesuffix("\n") if ended and start + lines > number else found, number - ended
