"""A run's log as the events of OpenAI's Responses: a machine without I/O, whose numbers are a function of the log.

An event's `sequence_number` is made of the number of the log's event that it tells, among those that tell anything
(`ORDINAL`), of its place among all that that one tells (`PLACE`), and, for a piece of text, of a digest of the text up
to there. Text is told in pieces that end at multiples of `PIECE` characters, so that it is cut alike while it is
written and when it is read again: a client that comes back with a number lacks nothing and is told nothing twice. Where
the text before its number is not the one that it was told, for the server died and the model has written another, the
message is told anew from its beginning.
"""

import json
import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import UNSET

from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    ApprovalRequested,
    CallError,
    QuestionAsked,
    RunQueued,
    ToolCompleted,
    ToolExecuting,
)
from netra_apex.core.messages import Usage
from netra_apex.core.runs import Run
from netra_apex.server.protocols.following import Event
from netra_apex.server.protocols.openai_texts import Said, Texts

PIECE = 16  # characters of a text that are told at once
PLACES = 1 << 17  # of one event of the log: what is longer than so many pieces is told with the last of them
_PLACE = 1 << 16
_ORDINAL = PLACES * _PLACE  # numbers stay exact in JavaScript for a million events of a run
_FIRST_PIECE = 2  # after the message and its part
_PIECES = PLACES - 16
_OTHERS = PLACES - 8  # what is no text comes behind a text that it overtakes

Told = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """What of a response is not in its log."""

    response_id: str
    thread_id: str
    agent: str
    created_at: datetime

    @classmethod
    def of(cls, run: Run) -> "Head":
        """From a stored run."""
        return cls(run.run_id, run.thread_id, run.agent, run.created_at)


@dataclass(slots=True)
class _Open:
    """A message that is being told: how many of its pieces, and the text of them with its checksum."""

    message_id: str
    pieces: int = 0
    crc: int = 0
    text: str = ""


@dataclass(frozen=True, slots=True)
class _Resume:
    """Where in a text a client comes back: in which event of the log, after how many pieces, and their digest."""

    ordinal: int
    pieces: int
    digest: int


class Telling:
    """One response, told from its beginning, or after a number that its client has."""

    def __init__(self, head: Head, after: int | None = None) -> None:
        self._head = head
        self._after = -1 if after is None else after
        self._resume = _resume_at(self._after)
        self._ordinal = 1  # of the next event that tells anything
        self._place = _OTHERS
        self._texts = Texts()
        self._open: _Open | None = None
        self._output: list[Told] = []
        self._calls: dict[str, int] = {}
        self._status = "queued"
        self._error: Told | None = None
        self._usage: Usage | None = None

    def begin(self) -> list[Told]:
        """What is told before anything of the log."""
        return self._lacked([self._numbered(0, 0, "response.created", response=self.response())])

    def hear(self, event: Event) -> list[Told]:
        """An event of the run, or a passing frame: what its client is told for it."""
        told: list[Told] = []
        said = self._texts.hear(event)
        if said is not None:
            told = self._say(said)
            if not said.done:
                return self._lacked(told)
        self._place = _OTHERS
        others = self._tell(event)
        told = self._lacked([*told, *others])
        if said is not None or others:
            # What it has overtaken, a text that is still written, is told anew after it, as the log has it.
            self._open = None
            self._ordinal += 1
        return told

    def response(self) -> Told:
        """The response as it stands."""
        head, used = self._head, self._usage
        return {
            "id": head.response_id,
            "object": "response",
            "created_at": int(head.created_at.timestamp()),
            "status": self._status,
            "model": head.agent,
            "output": list(self._output),
            "error": self._error,
            "incomplete_details": None,
            "conversation": {"id": head.thread_id},
            "usage": None if used is None else _usage(used),
            "background": True,  # every one goes on without its client, and can be come back to
            "store": True,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "text": {"format": {"type": "text"}},
            "truncation": "disabled",
            "instructions": None,
            "previous_response_id": None,
            "metadata": {},
            "temperature": None,
            "top_p": None,
        }

    def _tell(self, event: Event) -> list[Told]:
        match event:
            case RunQueued():
                return self._state("response.queued", "queued")
            case AgentStarted(depth=0):
                return self._state("response.in_progress", "in_progress")
            case ToolExecuting(depth=0):
                return self._call(event)
            case ToolCompleted(depth=0):
                return self._called(event)
            case ApprovalRequested():
                return self._approval(event)
            case QuestionAsked():
                return self._question(event)
            case AgentCompleted(depth=0):
                self._usage = event.usage
                return self._end("response.completed", "completed")
            case AgentFailed(depth=0):
                limited = event.code == "budget_exceeded"
                code = "rate_limit_exceeded" if limited else "server_error"
                self._error = {"code": code, "message": f"{event.code}: {event.message}"}
                return self._end("response.failed", "failed")
            case AgentCancelled(depth=0):
                return self._end("response.incomplete", "cancelled")
            case _:
                return []

    def _state(self, kind: str, status: str) -> list[Told]:
        self._status = status
        return self._new(kind, response=self.response())

    def _end(self, kind: str, status: str) -> list[Told]:
        # Behind every piece of a text that was told and will never be complete.
        self._place = PLACES - 1
        return self._state(kind, status)

    def _call(self, event: ToolExecuting) -> list[Told]:
        arguments = event.arguments if isinstance(event.arguments, str) else json.dumps(event.arguments)
        item = {
            "id": event.call_id,
            "type": "mcp_call",
            "name": event.tool,
            "server_label": event.agent,
            "arguments": arguments,
            "status": "in_progress",
            "output": None,
            "error": None,
            "approval_request_id": None,
        }
        place = self._calls[event.call_id] = self._add(item)
        at = {"output_index": place, "item_id": event.call_id}
        return [
            *self._new("response.output_item.added", output_index=place, item=item),
            *self._new("response.mcp_call.in_progress", **at),
            *self._new("response.mcp_call_arguments.done", **at, arguments=arguments),
        ]

    def _called(self, event: ToolCompleted) -> list[Told]:
        place = self._calls.pop(event.call_id)
        item = dict(self._output[place])
        at = {"output_index": place, "item_id": event.call_id}
        if event.ok:
            result = None if event.result is UNSET else event.result
            item |= {"status": "completed", "output": result if isinstance(result, str) else json.dumps(result)}
        else:
            error = event.error if isinstance(event.error, CallError) else CallError("error", "")
            content = [{"type": "text", "text": f"{error.code}: {error.message}"}]
            item |= {"status": "failed", "error": {"type": "mcp_tool_execution_error", "content": content}}
        self._output[place] = item
        return [
            *self._new(f"response.mcp_call.{item['status']}", **at),
            *self._new("response.output_item.done", output_index=place, item=item),
        ]

    def _approval(self, event: ApprovalRequested) -> list[Told]:
        item = {
            "id": event.approval_id,
            "type": "mcp_approval_request",
            "name": event.tool,
            "server_label": event.agent,
            "arguments": json.dumps(event.arguments),
        }
        return self._whole(item)

    def _question(self, event: QuestionAsked) -> list[Told]:
        item = {
            "id": event.question_id,
            "type": "function_call",
            "call_id": event.question_id,
            "name": "ask_user",
            "arguments": json.dumps({"question": event.text}),
            "status": "completed",
        }
        return self._whole(item)

    def _whole(self, item: Told) -> list[Told]:
        place = self._add(item)
        return [
            *self._new("response.output_item.added", output_index=place, item=item),
            *self._new("response.output_item.done", output_index=place, item=item),
        ]

    def _add(self, item: Told) -> int:
        self._output.append(item)
        return len(self._output) - 1

    def _say(self, said: Said) -> list[Told]:
        """What is told of a message: its beginning once, each piece as it is whole, and its end."""
        opened = self._known(said)
        if opened is None:
            return []
        index = len(self._output)
        told: list[Told] = []
        if not opened.pieces and self._open is not opened:
            told += self._opening(said.message_id, index)
        self._open = opened
        told += self._pieces(opened, said, index)
        if said.done:
            told += self._closing(said, index)
            self._output.append(_message(said.message_id, said.text, "completed"))
        return told

    def _known(self, said: Said) -> _Open | None:
        """How far this message was told; None where that cannot be said before more of it is there."""
        opened, resume = self._open, self._resume
        if opened is not None and opened.message_id == said.message_id:
            if said.text.startswith(opened.text):
                return opened
            # Written anew, and not different so far.
            return None if not said.done and opened.text.startswith(said.text) else _Open(said.message_id)
        if opened is None and resume is not None and resume.ordinal == self._ordinal:
            end = resume.pieces * PIECE
            if len(said.text) < end and not said.done:
                return None
            crc = _crc(said.text[:end])
            if _digest(crc) == resume.digest:
                return _Open(said.message_id, resume.pieces, crc, said.text[:end])
        return _Open(said.message_id)

    def _opening(self, message_id: str, index: int) -> list[Told]:
        part = _part("")
        item = {**_message(message_id, "", "in_progress"), "content": list[Told]()}
        at = {"output_index": index, "content_index": 0, "item_id": message_id}
        return [
            self._numbered(self._ordinal, 0, "response.output_item.added", output_index=index, item=item),
            self._numbered(self._ordinal, 1, "response.content_part.added", **at, part=part),
        ]

    def _pieces(self, opened: _Open, said: Said, index: int) -> list[Told]:
        told: list[Told] = []
        at = {"output_index": index, "content_index": 0, "item_id": said.message_id}
        start = opened.pieces * PIECE
        while start < len(said.text) and (start + PIECE <= len(said.text) or said.done):
            last = opened.pieces == _PIECES - 1
            if last and not said.done:
                break
            piece = said.text[start:] if last else said.text[start : start + PIECE]
            opened.crc = _crc(piece, opened.crc)
            number = opened.pieces + _FIRST_PIECE
            delta = self._numbered(self._ordinal, number, "response.output_text.delta", **at, delta=piece, logprobs=[])
            delta["sequence_number"] += _digest(opened.crc)
            told.append(delta)
            opened.pieces += 1
            start += len(piece)
        opened.text = said.text[:start]
        return told

    def _closing(self, said: Said, index: int) -> list[Told]:
        place = _FIRST_PIECE + _PIECES
        at = {"output_index": index, "content_index": 0, "item_id": said.message_id}
        item = _message(said.message_id, said.text, "completed")
        return [
            self._numbered(self._ordinal, place, "response.output_text.done", **at, text=said.text, logprobs=[]),
            self._numbered(self._ordinal, place + 1, "response.content_part.done", **at, part=_part(said.text)),
            self._numbered(self._ordinal, place + 2, "response.output_item.done", output_index=index, item=item),
        ]

    def _new(self, kind: str, **facts: Any) -> list[Told]:
        told = self._numbered(self._ordinal, self._place, kind, **facts)
        self._place += 1
        return [told]

    def _numbered(self, ordinal: int, place: int, kind: str, **facts: Any) -> Told:
        return {"type": kind, "sequence_number": ordinal * _ORDINAL + place * _PLACE, **facts}

    def _lacked(self, told: list[Told]) -> list[Told]:
        """What of this the client lacks, which has everything up to its number."""
        if self._resume is not None:
            # It has pieces of a text, and nothing else yet of the event of the log that the text is to be.
            first = self._resume.ordinal * _ORDINAL
            return [each for each in told if each["sequence_number"] >= first]
        return [each for each in told if each["sequence_number"] > self._after]


def _resume_at(after: int) -> _Resume | None:
    """The text in whose middle a number is."""
    if after < 0 or not after % _PLACE:
        return None
    return _Resume(after // _ORDINAL, after % _ORDINAL // _PLACE - _FIRST_PIECE + 1, after % _PLACE)


def _crc(text: str, before: int = 0) -> int:
    return zlib.crc32(text.encode("utf-8", "replace"), before)


def _digest(crc: int) -> int:
    return crc % _PLACE or 1


def _part(text: str) -> Told:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(message_id: str, text: str, status: str) -> Told:
    return {"id": message_id, "type": "message", "role": "assistant", "status": status, "content": [_part(text)]}


def _usage(used: Usage) -> Told:
    return {
        "input_tokens": used.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": used.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": used.input_tokens + used.output_tokens,
    }
