"""What an A2A client sends: a message, or an answer for a task that waits."""

import json
import mimetypes
from dataclasses import dataclass
from typing import Any, cast

from a2a.types import Message, Part, Role, SendMessageRequest
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError
from google.protobuf.json_format import MessageToDict

from netra_apex.core.conversations import MAX_ANSWER, MAX_KEY, Verdict, check_text
from netra_apex.core.events import ApprovalRequested
from netra_apex.core.files import file_name
from netra_apex.errors import Invalid
from netra_apex.server.protocols.a2a_tasks import Asked


@dataclass(frozen=True, slots=True)
class Answer:
    """What a message says to something that was asked: a verdict with a note, or a text."""

    ident: str
    verdict: Verdict | None = None
    text: str | None = None


def agent_of(params: SendMessageRequest) -> str | None:
    """The agent that is meant, which is a skill of the card: `metadata.agent`, or the tenant; None for the default.

    Raises:
        Invalid: it is no text.
    """
    for metadata in (params.message.metadata, params.metadata):
        if "agent" in metadata:
            agent = cast("object", metadata["agent"])
            if not isinstance(agent, str):
                raise Invalid("metadata.agent is the id of a skill of the card")
            return agent
    return params.tenant or None


def check(params: SendMessageRequest) -> Message:
    """The message, if it is one. Raises: InvalidParamsError, Invalid."""
    message = params.message
    if message.role != Role.ROLE_USER:
        raise InvalidParamsError(message="the message's role is to be ROLE_USER")
    check_text("messageId", message.message_id, limit=MAX_KEY - len(key_of("")))
    return message


def key_of(message_id: str) -> str:
    """The idempotency key of a message that the client has named."""
    return f"a2a:{message_id}"


def text_of(message: Message) -> str:
    """The message's text; data is told as its JSON."""
    said: list[str] = []
    for part in message.parts:
        if part.HasField("text"):
            said.append(part.text)
        elif part.HasField("data"):
            said.append(_json(part))
    return "\n".join(said)


def files_of(message: Message) -> list[tuple[str, bytes]]:
    """The files that came in it, by their names.

    Raises:
        ContentTypeNotSupportedError: one is only named by an address, which this server does not fetch.
    """
    files: list[tuple[str, bytes]] = []
    for number, part in enumerate(message.parts, 1):
        if part.HasField("url"):
            raise ContentTypeNotSupportedError(message="a part is taken with its content, not by an address")
        if part.HasField("raw"):
            ending = mimetypes.guess_extension(part.media_type.partition(";")[0].strip()) or ""
            files.append((file_name(part.filename or f"file-{number}{ending}"), part.raw))
    return files


def answer_of(message: Message, asked: dict[str, Asked]) -> Answer:
    """What a message says to what a task waits for: to what its data names, else to what was asked first.

    Raises:
        InvalidParamsError: it says neither yes nor no to a call, or names what is not asked.
        Invalid: it is no text, or too long.
    """
    found = [_fields(part) for part in message.parts if part.HasField("data")]
    data = found[0] if found else {}
    named = data.get("approval_id", data.get("question_id"))
    if named is not None and named not in asked:
        raise InvalidParamsError(message="the task does not wait for an answer to that")
    ident = cast("str", named) if named is not None else next(iter(asked))
    text = "\n".join(part.text for part in message.parts if part.HasField("text")).strip()
    if not isinstance(asked[ident], ApprovalRequested):
        said = data.get("answer", text)
        return Answer(ident, text=check_text("answer", said if isinstance(said, str) else "", limit=MAX_ANSWER))
    approved, reason = data.get("approved"), data.get("reason")
    if isinstance(approved, bool) and (reason is None or isinstance(reason, str)):
        return Answer(ident, "approve" if approved else "reject", reason)
    word = text.casefold()
    if data.keys() <= {"approval_id"} and (word == "approve" or word == "reject"):
        return Answer(ident, word)
    raise InvalidParamsError(message="the answer is to be {approved, reason?} as data, or approve or reject as text")


def _fields(part: Part) -> dict[str, Any]:
    if not part.data.HasField("struct_value"):
        return {}
    return MessageToDict(part.data)


def _json(part: Part) -> str:
    return json.dumps(MessageToDict(part.data), ensure_ascii=False)
