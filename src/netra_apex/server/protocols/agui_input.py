"""What an AG-UI client sends: read, and mapped to what there is here."""

import base64
import binascii
import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

from ag_ui.core import AudioPart, DataSource, DocumentPart, ImagePart, RunAgentInput, TextPart, UserMessage, VideoPart
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from netra_apex.core.conversations import MAX_KEY, IfBusy, check_text
from netra_apex.core.files import file_name
from netra_apex.core.ids import derived_id
from netra_apex.core.runs import RunStatus
from netra_apex.errors import Invalid
from netra_apex.runtime import Runtime
from netra_apex.server.protocols.agui_asks import OURS

Media = ImagePart | AudioPart | VideoPart | DocumentPart


@dataclass(frozen=True, slots=True)
class Said:
    """The message that a client's run is about: its text, and the files that came in it (name, content)."""

    content: str
    files: tuple[tuple[str, bytes], ...] = ()


def read(body: bytes, content_type: str | None) -> RunAgentInput:
    """The input, checked.

    Raises:
        RequestValidationError, Invalid: it is none, or its ids could not be anybody's.
    """
    media = (content_type or "").partition(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        raise RequestValidationError([{"loc": ("body",), "msg": "it must be JSON", "type": "value_error"}])
    try:
        given = RunAgentInput.model_validate_json(body)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in found]) from error
    check_text("threadId", given.thread_id, limit=MAX_KEY)
    check_text("runId", given.run_id, limit=MAX_KEY - len(key_of("")))
    return given


def key_of(run: str) -> str:
    """The idempotency key of a run that the client has named."""
    return f"agui:{run}"


async def thread_of(runtime: Runtime, user_id: str, named: str) -> str:
    """The thread that a client means: one of the user's own by its id, else his own of the client's name.

    The name is made an id together with the user: the same name is another thread of every user's, and stays the same
    for ever without being written down. Somebody else's thread is a name like any other.
    """
    if await runtime.stores.conversations.thread(user_id, named) is not None:
        return named
    return derived_id("thr", "agui", user_id, named)


async def if_busy(runtime: Runtime, user_id: str, thread_id: str, given: RunAgentInput) -> IfBusy:
    """What is to be done where the thread has a run: what `forwardedProps.netra.ifBusy` says, else to wait for it.

    Not for one that waits for a person, which may be months: the client is to answer it first.

    Raises:
        Invalid: it says something else.
    """
    props = cast("object", given.forwarded_props)
    ours = cast("dict[str, object]", props).get(OURS) if isinstance(props, dict) else None
    wanted = cast("dict[str, object]", ours).get("ifBusy") if isinstance(ours, dict) else None
    if wanted is not None:
        if wanted not in get_args(IfBusy):
            raise Invalid(f"forwardedProps.{OURS}.ifBusy is one of {', '.join(get_args(IfBusy))}")
        return cast("IfBusy", wanted)
    unfinished = await runtime.stores.conversations.unfinished(user_id, thread_id)
    return "reject" if any(run.status is RunStatus.WAITING for run in unfinished) else "enqueue"


def said(given: RunAgentInput) -> Said:
    """The last message of the user's; what was said before it is known here.

    Raises:
        Invalid: there is none, or it has a part that cannot be taken.
    """
    last = next((each for each in reversed(given.messages) if isinstance(each, UserMessage)), None)
    if last is None:
        raise Invalid("messages has none of the user's, and resume answers nothing: there is nothing to do")
    if isinstance(last.content, str):
        return Said(last.content)
    texts = [part.text for part in last.content if isinstance(part, TextPart)]
    parts = [part for part in last.content if not isinstance(part, TextPart)]
    files = tuple(_file(part, number) for number, part in enumerate(parts, 1))
    return Said("\n".join(texts), files)


def left_out(given: RunAgentInput) -> str | None:
    """A sentence on what the client sent that has no effect here; None where there is nothing."""
    sent: Sequence[tuple[str, object]] = (
        ("tools", given.tools),
        ("context", given.context),
        ("state", given.state),
    )
    names = [name for name, value in sent if value]
    if not names:
        return None
    return f"{' and '.join(names)} had no effect: this server's agents have their own tools, context and state"


def _file(part: Media, number: int) -> tuple[str, bytes]:
    source = part.source
    if not isinstance(source, DataSource):
        raise Invalid(f"a {part.type} part is taken with its data only, not by {source.type}: upload it to the thread")
    try:
        content = base64.b64decode(source.value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"a {part.type} part is not base64") from error
    if not content:
        raise Invalid(f"a {part.type} part is empty")
    metadata = cast("object", part.metadata)
    named = cast("dict[str, object]", metadata).get("filename") if isinstance(metadata, dict) else None
    ending = mimetypes.guess_extension(source.mime_type.partition(";")[0].strip()) or ""
    return file_name(named if isinstance(named, str) and named else f"{part.type}-{number}{ending}"), content
