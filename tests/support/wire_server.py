"""A model server in a process of its own that speaks OpenAI's wire format and does what the user's message says.

    python tests/support/wire_server.py [--quiet] [--cpu N]      prints its port; ends when its standard input ends

`POST /v1/chat/completions` (streamed and whole), `GET /v1/models`, and for tests `GET /requests` and `POST /forget`.
The last user message may hold directives, `tell me [[chunks=8 delay=20]]`:

    chunks=8 tag=word        pieces of text: "word0 ", "word1 ", …
    think=0                  pieces of thought before them
    first=0 delay=0          milliseconds before the first piece, and from each piece to the next
    call=a,b rounds=1        tools to call (offered: all), and in how many answers of this turn, before the text comes
    args=ok                  their arguments: ok (from the tool's schema), broken, missing, or JSON without blanks
    fault=KIND times=1       an HTTP status (429, 500, …) or: die cut error hang garbage endless silent
    after=0 wait=0           pieces before a fault in mid-stream; seconds in the Retry-After of a status
    phase=any                where the fault strikes: any, call (an answer that calls tools), text
    finish=stop              the finish_reason of a text
    refuse=1                 the text comes as a refusal

`times=0` is always. A model named `paced-64-100-20` has these as chunks, first and delay.
"""

import argparse
import asyncio
import collections
import functools
import itertools
import json
import os
import re
import sys
import time
from typing import Any, cast

DIRECTIVE = re.compile(r"\[\[(.+?)\]\](?!\])")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
EVENT = b'data: {"id":"chatcmpl-w","object":"chat.completion.chunk","created":1,"model":"wire","choices":[%s]}\n\n'
numbers = itertools.count(1)


class Plan:
    """The directives of one request."""

    def __init__(self, asked: str, model: str) -> None:
        pace = model.rpartition("/")[2].split("-")
        found = dict(zip(("chunks", "first", "delay"), pace[1:], strict=False)) if pace[0] == "paced" else {}
        for directive in DIRECTIVE.findall(asked):
            found |= dict(pair.split("=", 1) for pair in directive.split() if "=" in pair)
        self.chunks = int(found.get("chunks", 8))
        self.tag = found.get("tag", "word")
        self.think = int(found.get("think", 0))
        self.first = float(found.get("first", 0)) / 1000
        self.delay = float(found.get("delay", 0)) / 1000
        self.call = [name for name in found.get("call", "").split(",") if name]
        self.rounds = int(found.get("rounds", 1))
        self.args = found.get("args", "ok")
        self.fault = found.get("fault", "")
        self.times = int(found.get("times", 1))
        self.after = int(found.get("after", 0))
        self.wait = found.get("wait", "")
        self.phase = found.get("phase", "any")
        self.finish = found.get("finish", "stop")
        self.refuse = "refuse" in found


class Server:
    """What all connections share."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.seen: list[dict[str, Any]] = []
        self.struck: collections.Counter[str] = collections.Counter()
        self.open = 0
        self.total = 0


class Connection(asyncio.Protocol):
    """One client's connection: one request at a time, each answered by a task that ends with the connection."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.buffer = b""
        self.task: asyncio.Task[None] | None = None
        self.head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have no asyncio class among their bases.
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.next_request()

    def next_request(self, _ended: object = None) -> None:
        if (self.task is not None and not self.task.done()) or b"\r\n\r\n" not in self.buffer:
            return
        head, _, rest = self.buffer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", head)
        size = int(length[1]) if length else 0
        if len(rest) < size:
            return
        self.buffer = rest[size:]
        self.head = head
        method, path = head.split(b" ", 2)[:2]
        self.task = asyncio.get_running_loop().create_task(self.route(method, path.decode(), rest[:size]))
        self.task.add_done_callback(self.next_request)

    def header(self, name: bytes) -> str | None:
        """A header of the request."""
        found = re.search(rb"(?im)^" + name + rb": *(\S+)", self.head)
        return found[1].decode() if found else None

    async def route(self, method: bytes, path: str, body: bytes) -> None:
        server = self.server
        if path == "/v1/chat/completions":
            server.open += 1
            server.total += 1
            try:
                await self.complete(json.loads(body))
            finally:
                server.open -= 1
        elif path == "/requests":
            self.answer({"requests": server.seen, "open": server.open, "total": server.total})
        elif path == "/forget" and method == b"POST":
            server.seen, server.struck, server.total = [], collections.Counter(), 0
            self.answer({})
        elif path == "/v1/models":
            self.answer({"object": "list", "data": [{"id": "wire", "object": "model", "owned_by": "tests"}]})
        else:
            self.answer({"error": {"message": f"there is no {path}", "type": "invalid_request_error"}}, 404)

    async def complete(self, request: dict[str, Any]) -> None:
        messages = request["messages"]
        asked, since = last_question(messages)
        plan = Plan(asked, request["model"])
        note: dict[str, Any] = {
            "asked": asked,
            "model": request["model"],
            "messages": messages,
            "tools": [tool["function"]["name"] for tool in request.get("tools") or []],
            "response_format": request.get("response_format"),
            "traceparent": self.header(b"traceparent"),
            "at": time.time(),
            "done": False,
            "aborted": False,
        }
        if not self.server.quiet:
            self.server.seen.append(note)
        try:
            await self.perform(plan, request, asked, since)
            note["done"] = True
        except asyncio.CancelledError:
            note["aborted"] = True
            raise

    async def perform(self, plan: Plan, request: dict[str, Any], asked: str, since: list[dict[str, Any]]) -> None:
        if complaint := unpaired(request["messages"]):
            self.answer({"error": {"message": complaint, "type": "invalid_request_error"}}, 400)
            return
        rounds = sum(1 for message in since if message["role"] == "assistant" and message.get("tool_calls"))
        calls = tool_calls(plan, request, asked) if rounds < plan.rounds else []
        fault = plan.fault if plan.phase in ("any", "call" if calls else "text") else ""
        if fault and plan.times and self.server.struck[asked] >= plan.times:
            fault = ""
        self.server.struck[asked] += bool(fault)
        if fault and await self.fail_early(fault, plan):
            return
        if plan.first:
            await asyncio.sleep(plan.first)
        if not request.get("stream"):
            self.answer(completion(calls, "".join(f"{plan.tag}{i} " for i in range(plan.chunks))))
            return
        await self.stream(plan, calls, fault)

    async def fail_early(self, fault: str, plan: Plan) -> bool:
        """Whether the fault was one that strikes before the stream."""
        if fault.isdigit():
            more = f"retry-after: {plan.wait}\r\n".encode() if plan.wait else b""
            self.answer({"error": {"message": f"the model answers {fault}", "type": "test"}}, int(fault), more)
        elif fault == "garbage":
            self.answer("<html><body>this is no model</body></html>")
        elif fault == "hang":
            await asyncio.sleep(3600)
        elif fault == "endless":
            self.transport.write(HEAD)
            while True:
                self.transport.write(framed(b"x" * 65_536))
                await asyncio.sleep(0)
        else:
            return False
        return True

    async def stream(self, plan: Plan, calls: list[tuple[str, str]], fault: str) -> None:
        write = self.transport.write
        write(HEAD)
        if calls and not fault:
            write(framed(b"".join(call_events(calls)) + ending("tool_calls")) + b"0\r\n\r\n")
            return
        pieces = pieces_of(plan.chunks, plan.tag, plan.think, plan.refuse)
        loop = asyncio.get_running_loop()
        due = loop.time()
        for i, piece in enumerate(pieces[: plan.after] if fault else pieces):
            if plan.delay and i:
                # An absolute schedule: what one piece is late does not delay the next.
                due += plan.delay
                if (wait := due - loop.time()) > 0:
                    await asyncio.sleep(wait)
            write(piece)
        if fault:
            await self.fail_late(fault)
        else:
            write(framed(ending(plan.finish)) + b"0\r\n\r\n")

    async def fail_late(self, fault: str) -> None:
        if fault == "die":
            # The pieces that were written go out first.
            await asyncio.sleep(0.02)
            self.transport.abort()
        elif fault == "cut":
            self.transport.write(b"0\r\n\r\n")
        elif fault == "error":
            error = {"error": {"message": "the model is overloaded", "type": "server_error", "code": 529}}
            self.transport.write(framed(b"data: " + json.dumps(error).encode() + b"\n\n") + b"0\r\n\r\n")
        elif fault == "silent":
            await asyncio.sleep(3600)

    def answer(self, data: object, status: int = 200, more: bytes = b"") -> None:
        body = data.encode() if isinstance(data, str) else json.dumps(data).encode()
        kind = b"text/html" if isinstance(data, str) else b"application/json"
        head = b"HTTP/1.1 %d Wire\r\ncontent-type: %s\r\n%scontent-length: %d\r\n\r\n"
        self.transport.write(head % (status, kind, more, len(body)) + body)


def framed(data: bytes) -> bytes:
    """One chunk of HTTP's chunked encoding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(delta: dict[str, Any], finish: str | None = None) -> bytes:
    """One streamed chunk."""
    return EVENT % json.dumps({"index": 0, "delta": delta, "finish_reason": finish}).encode()


@functools.lru_cache(maxsize=4096)
def pieces_of(chunks: int, tag: str, think: int, refuse: bool) -> list[bytes]:
    """An answer's pieces, encoded once however often they are streamed."""
    field = "refusal" if refuse else "content"
    thoughts = [framed(event({"reasoning_content": f"hm{i} "})) for i in range(think)]
    return thoughts + [framed(event({field: f"{tag}{i} "})) for i in range(chunks)]


@functools.lru_cache(maxsize=16)
def ending(finish: str) -> bytes:
    """The finish_reason, the usage and [DONE]."""
    usage = {"choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 64, "total_tokens": 114}}
    return event({}, finish) + b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n"


def call_events(calls: list[tuple[str, str]]) -> list[bytes]:
    """Each call's head and its arguments in two pieces, as OpenAI sends them."""
    events: list[bytes] = [event({"role": "assistant", "content": None})]
    for i, (name, arguments) in enumerate(calls):
        head = {"index": i, "id": f"call_{next(numbers)}", "type": "function"}
        events.append(event({"tool_calls": [{**head, "function": {"name": name, "arguments": ""}}]}))
        middle = len(arguments) // 2
        events += [
            event({"tool_calls": [{"index": i, "function": {"arguments": half}}]})
            for half in (arguments[:middle], arguments[middle:])
        ]
    return events


def completion(calls: list[tuple[str, str]], text: str) -> dict[str, Any]:
    """An answer that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": None if calls else text}
    if calls:
        message["tool_calls"] = [
            {"id": f"call_{next(numbers)}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for name, arguments in calls
        ]
    return {
        "id": "chatcmpl-w",
        "object": "chat.completion",
        "created": 1,
        "model": "wire",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop"}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 64, "total_tokens": 114},
    }


def last_question(messages: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The last user message's text, and what came after it."""
    for i in range(len(messages) - 1, -1, -1):
        if messages[i]["role"] == "user":
            content = messages[i]["content"]
            text = content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
            return text, messages[i + 1 :]
    return "", messages


def tool_calls(plan: Plan, request: dict[str, Any], asked: str) -> list[tuple[str, str]]:
    """(name, arguments) of each call that the plan asks for, offered or not."""
    offered = {tool["function"]["name"]: tool["function"] for tool in request.get("tools") or []}
    fixed = {"broken": '{"query": ', "missing": "{}"}.get(plan.args, plan.args)
    calls: list[tuple[str, str]] = []
    for name in offered if plan.call == ["offered"] else plan.call:
        schema = offered.get(name, {}).get("parameters") or {}
        filled = dict.fromkeys(schema.get("required") or (), DIRECTIVE.sub("", asked).strip())
        calls.append((name, json.dumps(filled) if plan.args == "ok" else fixed))
    return calls


def unpaired(messages: list[dict[str, Any]]) -> str:
    """What OpenAI refuses with 400: a call without its result, a result without its call, arguments not JSON."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return f"the tool message for {message['tool_call_id']} follows no such call"
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            break
        for call in message.get("tool_calls") or ():
            waiting.add(call["id"])
            if not call["function"]["arguments"].startswith("{") or not is_json(call["function"]["arguments"]):
                return f"the arguments of {call['id']} are no JSON object"
    return f"the call {min(waiting)} has no tool message" if waiting else ""


def is_json(text: str) -> bool:
    """Whether it decodes."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


async def serve(quiet: bool) -> None:
    """Prints the port and serves until standard input ends, which it does when the parent dies."""
    server = Server(quiet)
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=2048)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await ended.wait()
    listening.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quiet", action="store_true", help="remember no request, for measuring")
    parser.add_argument("--cpu", type=int, help="run on this core alone")
    options = parser.parse_args()
    if options.cpu is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.cpu})
    try:
        from uvloop import run
    except ImportError:
        from asyncio import run
    run(serve(options.quiet))


if __name__ == "__main__":
    main()
