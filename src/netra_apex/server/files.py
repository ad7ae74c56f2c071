"""Routes of a thread's files: upload, list, download, delete."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from netra_apex.core.belongings import NewFile, StoredFile
from netra_apex.core.files import HEAD_BYTES, check_taken, file_name, type_of
from netra_apex.core.ids import new_id
from netra_apex.errors import Invalid, NotFound
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.problems import responses
from netra_apex.server.shapes import FileShape, Listing, UploadedShape
from netra_apex.server.threads import Cursor, Limit
from netra_apex.server.uploading import FIELD, Upload

router = APIRouter(prefix="/api/threads/{thread_id}/files", tags=["files"], dependencies=SECURITY)

_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [FIELD],
                    "additionalProperties": False,
                    "properties": {FIELD: {"type": "string", "format": "binary"}},
                }
            }
        },
    }
}
_CONTENT: dict[str, Any] = {
    "description": "The file's content, under its own media type",
    "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
}


@router.post(
    "",
    operation_id="upload_file",
    status_code=201,
    responses=responses(401, 403, 404, 413, 422),
    openapi_extra=_BODY,
)
async def upload_file(thread_id: str, request: Request, principal: Caller, services: Running) -> UploadedShape:
    """Adds a file to a thread. Its type is decided by its name and by how it begins."""
    runtime = services.runtime
    runtime.admission.check_open()
    if await runtime.stores.conversations.thread(principal.user_id, thread_id) is None:
        raise NotFound("thread", thread_id)
    upload = Upload(request.headers.get("content-type", ""), request.stream())
    name = file_name(await upload.name())
    head, content = await _begun(upload.content())
    media_type = check_taken(type_of(name, head), runtime.settings.upload_types)
    new = NewFile(file_id=new_id("fil"), name=name, media_type=media_type)
    return UploadedShape.of(await runtime.stores.files.add_file(principal.user_id, thread_id, new, content))


@router.get("", operation_id="list_files", responses=responses(401, 404, 422))
async def list_files(
    thread_id: str, principal: Caller, services: Running, limit: Limit = 50, cursor: Cursor = None
) -> Listing[FileShape]:
    """A thread's files, the oldest first."""
    page = await services.runtime.stores.files.files(principal.user_id, thread_id, limit=limit, cursor=cursor)
    if page is None:
        raise NotFound("thread", thread_id)
    return Listing[FileShape].of(page, FileShape.of_stored)


@router.get(
    "/{file_id}",
    operation_id="download_file",
    response_class=StreamingResponse,
    responses={200: _CONTENT, **responses(401, 404, 422)},
)
async def download_file(thread_id: str, file_id: str, principal: Caller, services: Running) -> StreamingResponse:
    """What is in a file, to be kept and not to be shown: a page that somebody uploaded must not run as ours."""
    files = services.runtime.stores.files
    file = await files.file(principal.user_id, thread_id, file_id)
    if file is None:
        raise NotFound("file", file_id)
    headers = {"Content-Disposition": _attachment(file), "Content-Length": str(file.size)}
    content = files.read_file(principal.user_id, thread_id, file_id)
    # As a header, so that no charset is made up for it.
    return StreamingResponse(content, headers=headers | {"Content-Type": file.media_type})


@router.delete("/{file_id}", operation_id="delete_file", status_code=204, responses=responses(401, 403, 404, 422))
async def delete_file(thread_id: str, file_id: str, principal: Caller, services: Running) -> None:
    """Deletes a file; messages that it came with still name it."""
    if not await services.runtime.stores.files.delete_file(principal.user_id, thread_id, file_id):
        raise NotFound("file", file_id)


async def _begun(content: AsyncGenerator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """How a file begins, and all of it.

    Raises:
        Invalid: it is empty.
    """
    head = b""
    async for piece in content:
        head += piece
        if len(head) >= HEAD_BYTES:
            break
    if not head:
        raise Invalid("the file is empty")

    async def whole() -> AsyncIterator[bytes]:
        yield head
        async for piece in content:
            yield piece

    return head[:HEAD_BYTES], whole()


def _attachment(file: StoredFile) -> str:
    """The header by which a browser saves it under its name (RFC 6266)."""
    plain = "".join(char if char.isascii() and char not in '"\\' else "_" for char in file.name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(file.name, safe='')}"
