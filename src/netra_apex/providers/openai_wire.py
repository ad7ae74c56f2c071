"""The Chat Completions wire format without a socket: a request as bytes, and an answer from bytes.

Why apart from the client: what a stream means is decided here from values alone, so every way in which the network may
cut it can be tried. Source: OpenAI's API reference, "Create chat completion" and its streaming events; the fields
`reasoning_content` (DeepSeek, vLLM), `reasoning` (OpenRouter, Ollama) and `usage.cost` (OpenRouter) are those of other
servers that speak the same format.
"""

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from netra_apex.core.ids import new_id
from netra_apex.core.messages import (
    NO_USAGE,
    Reply,
    ToolCall,
    Usage,
)
from netra_apex.core.voices import Deltas
from netra_apex.providers.openai_request import NO_JSON, to_json

MAX_LINE = 4 * 1024 * 1024
"""Bytes of one line of a stream. A whole answer's longest line is far shorter; an endless one must not fill memory."""

MAX_ARGUMENTS = 4 * 1024 * 1024  # characters of all the arguments of one answer's tool calls

QUOTE = 200
"""Characters of an answer in another format that its error quotes."""


AGAIN = frozenset({408, 429})
"""Statuses below 500 after which the same request may go well."""

# An error in mid-stream often has no HTTP status: these say that the same request will fail again.
_FINAL_WORDS = ("invalid", "quota", "billing", "auth", "permission", "policy", "content_filter", "context_length")


class Garbled(Exception):
    """The answer is not of this format; `str(error)` says what came instead, fit to follow "it answered with"."""


class Reported(Exception):
    """The provider reported an error inside its answer; `error` is the decoded `error` field."""

    def __init__(self, error: object) -> None:
        super().__init__(error)
        self.error = error


class _Part(msgspec.Struct, gc=False):
    text: str | None = None


class _Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: Any = None


class _Call(msgspec.Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct, gc=False):
    content: str | list[_Part] | None = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None


class _InputDetails(msgspec.Struct, gc=False):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    prompt_tokens_details: _InputDetails | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class _Building:
    """A tool call while its pieces come."""

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []


class Answer:
    """One answer while it comes: bytes in, pieces to `deltas`, at the end a `Reply`. It keeps no more than the answer.

    `told` is whether `deltas` was given anything; `done` that `[DONE]` was read; `finished` that the answer is whole,
    which a provider says with a `finish_reason`, and some with `[DONE]` alone.
    """

    __slots__ = (
        "_arguments_size",
        "_by_index",
        "_cached",
        "_calls",
        "_deltas",
        "_foreign",
        "_rest",
        "_rest_size",
        "_text",
        "_thinking",
        "_usage",
        "chunks",
        "done",
        "finish_reason",
        "refusal",
        "told",
    )

    def __init__(self, deltas: Deltas) -> None:
        self._deltas = deltas
        self._rest: list[bytes] = []
        self._rest_size = 0
        self._arguments_size = 0
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[_Building] = []
        self._by_index: dict[int, _Building] = {}
        self._usage = NO_USAGE
        self._cached = 0
        self._foreign = b""
        self.chunks = 0
        self.done = False
        self.finish_reason: str | None = None
        self.refusal = ""
        self.told = False

    @property
    def finished(self) -> bool:
        """Whether the answer is whole."""
        return self.done or self.finish_reason is not None

    @property
    def pace(self) -> float:
        """See `core.voices.Deltas.pace`."""
        return self._deltas.pace

    def feed(self, data: bytes) -> None:
        """Takes what one read of the socket gave, cut anywhere.

        The text of all whole lines in it goes to `deltas` in one call: what arrived together is told together.

        Raises:
            Garbled: a line is not of this format, or longer than `MAX_LINE`.
            Reported: the provider reported an error.
        """
        if self.done:
            return
        end = data.rfind(b"\n")
        if end < 0:
            self._keep(data)
            return
        head = data[:end]
        if self._rest:
            head = b"".join((*self._rest, head))
            self._rest.clear()
            self._rest_size = 0
        if end + 1 < len(data):
            self._keep(data[end + 1 :])
        self._take(head.split(b"\n"))

    def end(self) -> None:
        """The stream has ended. Some servers leave out the last line's end, so a whole last line counts without it.

        Raises:
            Garbled: what came is not of this format at all.
            Reported: the provider reported an error.
        """
        if self._rest:
            line = b"".join(self._rest)
            self._rest.clear()
            payload = line[5:].strip() if line.startswith(b"data:") else b""
            # A last line that was cut in its middle is a lost connection, not garbage.
            if not payload or payload == b"[DONE]" or _is_json(payload):
                self._take([line])
        if not self.chunks and not self.done and self._foreign:
            raise Garbled(quote(self._foreign))

    def whole(self, body: bytes) -> None:
        """Takes an answer that came as one JSON object, from a server that does not stream.

        Raises:
            Garbled: it is not a chat completion.
            Reported: it is an error.
        """
        pieces: list[str] = []
        self._chunk(body, pieces)
        self._tell(pieces)
        if not self.finished:
            raise Garbled(quote(body))

    def reply(self) -> Reply:
        """The answer as a value. Calls whose provider gave no id are given one."""
        calls = tuple(
            ToolCall(call.id or new_id("call"), call.name, "".join(call.arguments).strip() or "{}")
            for call in self._calls
        )
        usage = Usage(self._usage.input_tokens, self._usage.output_tokens, 1, self._usage.cost_usd)
        return Reply(
            text="".join(self._text),
            tool_calls=calls,
            thinking="".join(self._thinking),
            usage=usage,
            cached_tokens=self._cached,
            finish_reason=self.finish_reason,
        )

    def _keep(self, data: bytes) -> None:
        self._rest.append(data)
        self._rest_size += len(data)
        if self._rest_size > MAX_LINE:
            raise Garbled(f"a line of more than {MAX_LINE // 1_048_576} MiB")

    def _take(self, lines: list[bytes]) -> None:
        # One event is one line of `data:` in this format, so nothing waits for the blank line that ends the event.
        pieces: list[str] = []
        try:
            for line in lines:
                if line.startswith(b"data:"):
                    # JSON decoders skip the blank after the colon and a carriage return at the end by themselves.
                    if b"[DONE]" in line and line[5:].strip() == b"[DONE]":
                        self.done = True
                        return
                    self._chunk(line[5:], pieces)
                elif not self.chunks and not self._foreign and not _is_control(line):
                    self._foreign = line[: 4 * QUOTE]
        finally:
            self._tell(pieces)

    def _chunk(self, payload: bytes, pieces: list[str]) -> None:
        try:
            chunk = _decode_chunk(payload)
        except NO_JSON as error:
            if not payload.strip():
                return
            raise Garbled(quote(payload)) from error
        if chunk.error:
            raise Reported(chunk.error)
        self.chunks += 1
        if chunk.usage is not None:
            usage = chunk.usage
            self._usage = Usage(usage.prompt_tokens or 0, usage.completion_tokens or 0, 0, usage.cost)
            if usage.prompt_tokens_details is not None:
                self._cached = usage.prompt_tokens_details.cached_tokens or 0
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        if choice.finish_reason is not None:
            self.finish_reason = choice.finish_reason
        delta = choice.delta or choice.message
        if delta is None:
            return
        content = delta.content
        if content:
            pieces.append(content if isinstance(content, str) else "".join(part.text or "" for part in content))
        thought = delta.reasoning_content or delta.reasoning
        if thought and isinstance(thought, str):
            self._tell(pieces)
            self._thinking.append(thought)
            self.told = True
            self._deltas.thinking(thought)
        if delta.refusal:
            self.refusal += delta.refusal
            pieces.append(delta.refusal)
        if delta.tool_calls:
            self._call_pieces(delta.tool_calls)

    def _tell(self, pieces: list[str]) -> None:
        text = "".join(pieces)
        pieces.clear()
        if text:
            self._text.append(text)
            self.told = True
            self._deltas.text(text)

    def _call_pieces(self, pieces: list[_Call]) -> None:
        for piece in pieces:
            call = self._building(piece)
            if piece.id:
                call.id = piece.id
            function = piece.function
            if function is None:
                continue
            if function.name and not call.name:
                call.name = function.name
            arguments = function.arguments
            if arguments is not None:
                text = arguments if isinstance(arguments, str) else to_json(arguments).decode()
                call.arguments.append(text)
                self._arguments_size += len(text)
                if self._arguments_size > MAX_ARGUMENTS:
                    raise Garbled(f"tool calls of more than {MAX_ARGUMENTS // 1_048_576} Mi characters")

    def _building(self, piece: _Call) -> _Building:
        """The call that a piece belongs to. Some servers number every call 0, or none: a new id is a new call."""
        found = self._by_index.get(piece.index) if piece.index is not None else None
        if piece.index is None and self._calls:
            found = self._calls[-1]
        if found is None or (piece.id and found.id and piece.id != found.id):
            found = _Building()
            self._calls.append(found)
            if piece.index is not None:
                self._by_index[piece.index] = found
        return found


def severity(error: object) -> tuple[int | None, bool]:
    """(HTTP status if the error names one, whether asking again is in vain)."""
    if not isinstance(error, dict):
        return None, False
    fields: dict[str, object] = msgspec.convert(error, dict[str, object])
    code = fields.get("code") or fields.get("status")
    words = f"{fields.get('type')} {fields.get('code')}".lower()
    final = any(word in words for word in _FINAL_WORDS)
    if isinstance(code, int) and 400 <= code < 600:
        return code, final or (code < 500 and code not in AGAIN)
    return None, final


def error_text(error: object) -> str:
    """A provider's own sentence out of an `error` field, whatever form it gave it."""
    if isinstance(error, Mapping):
        fields = cast("Mapping[str, object]", error)
        inner = fields.get("message") or fields.get("error") or fields.get("detail")
        return error_text(inner) if inner else to_json(fields).decode()
    return str(error)


def quote(data: bytes) -> str:
    """The beginning of an answer in another format, on one line, for a sentence."""
    text = " ".join(data[: 4 * QUOTE].decode("utf-8", "replace").split())
    return repr(text[:QUOTE] + "…" if len(text) > QUOTE else text)


def _is_json(payload: bytes) -> bool:
    try:
        msgspec.json.decode(payload)
    except NO_JSON:
        return False
    return True


def _is_control(line: bytes) -> bool:
    """Whether a line without data belongs to an event stream: blank, a comment, another field, or a field cut short."""
    return not line.strip() or b"data:".startswith(line) or line.startswith((b":", b"event:", b"id:", b"retry:"))
