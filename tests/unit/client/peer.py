"""A small server that speaks the contract over a real socket, and breaks it on request.

It keeps a log for each run and replays it as the contract says. What a run tells is a script: an async function that
is given a `Stage`. The stage also lies when told to: frames that are sent and not stored, stored and not sent.
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

AT = "2030-01-02T03:04:05.678Z"
USAGE = {"input_tokens": 12, "output_tokens": 34, "requests": 2, "cost_usd": 0.00123}
PASSWORD = "correct horse battery staple"

Script = Callable[["Stage"], Awaitable[None]]


class Stage:
    """Where a run's script plays: every method tells the sockets that follow the run."""

    def __init__(self, peer: "Peer", run_id: str, thread_id: str, message_id: str, content: str, agent: str) -> None:
        self.peer, self.run_id, self.thread_id, self.message_id = peer, run_id, thread_id, message_id
        self.content, self.agent = content, agent
        self.log: list[dict[str, Any]] = []
        self.followers: set[web.WebSocketResponse] = set()
        self.followed = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.decisions: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.status = "running"
        self.snapshot: dict[str, Any] | None = None

    def event(self, kind: str, *, seq: int | None = None, depth: int = 0, **fields: Any) -> dict[str, Any]:
        seq = len(self.log) + 1 if seq is None else seq
        header = {"type": kind, "seq": seq, "run_id": self.run_id, "thread_id": self.thread_id, "agent": self.agent}
        return {**header, "depth": depth, "at": AT, **fields}

    async def tell(self, kind: str, *, seq: int | None = None, **fields: Any) -> None:
        """Stores and sends."""
        event = self.event(kind, seq=seq, **fields)
        self.log.append(event)
        await self.send(event)

    async def store(self, kind: str, **fields: Any) -> None:
        """Stores, and sends nothing."""
        self.log.append(self.event(kind, **fields))

    async def send(self, frame: dict[str, Any]) -> None:
        """Sends, and stores nothing."""
        for follower in list(self.followers):
            if not follower.closed:
                await follower.send_json(frame)

    async def delta(self, text: str, offset: int, *, message_id: str = "m1", attempt: int = 1, **more: Any) -> None:
        await self.send(
            {
                "type": "message_delta",
                "run_id": self.run_id,
                "message_id": message_id,
                "attempt": attempt,
                "offset": offset,
                "text": text,
                "agent": self.agent,
                "depth": 0,
                "parent_call_id": None,
                **more,
            }
        )

    async def cut(self, code: int | None = None) -> None:
        """Closes every socket with `code`; None tears them down without a word. Returns once a client is back."""
        self.followed.clear()
        for follower in list(self.followers):
            self.followers.discard(follower)
            if code is None:
                transport = self.peer.transports[follower]
                transport.abort()
            else:
                await follower.close(code=code)

    async def ask(self, ident: str, tool: str = "pay", **arguments: Any) -> dict[str, Any]:
        """A call that waits: asks about it, does nothing else, and gives what was decided, which it tells."""
        call_id = f"call_{ident}"
        await self.tell("tool_executing", call_id=call_id, tool=tool, arguments=arguments)
        asked = {"approval_id": ident, "call_id": call_id, "tool": tool, "arguments": arguments, "expires_at": AT}
        await self.tell("approval_requested", **asked)
        self.peer.approvals[ident] = (self, asked)
        self.status = "waiting"
        decision = await self.decisions.get()
        self.status = "running"
        await self.tell("approval_decided", approval_id=ident, decision=decision["decision"], by="ada")
        error = {"code": "rejected", "message": f"ada rejected {tool}: {decision.get('note')}"}
        end = {"ok": True, "result": "paid"} if decision["decision"] == "approve" else {"ok": False, "error": error}
        await self.tell("tool_completed", call_id=call_id, tool=tool, duration_ms=1, **end)
        return decision

    async def question(self, ident: str, text: str) -> str:
        """Asks, does nothing else, and gives the answer, which it tells."""
        call_id = f"call_{ident}"
        await self.tell("tool_executing", call_id=call_id, tool="ask_user", arguments={"text": text})
        await self.tell("question_asked", question_id=ident, call_id=call_id, text=text)
        self.peer.questions[ident] = (self, {"question_id": ident, "call_id": call_id, "text": text})
        self.status = "waiting"
        content = str((await self.decisions.get())["content"])
        self.status = "running"
        await self.tell("question_answered", question_id=ident, content=content)
        await self.tell("tool_completed", call_id=call_id, tool="ask_user", duration_ms=1, ok=True, result=content)
        return content

    async def back(self) -> None:
        """Waits until somebody follows."""
        await asyncio.wait_for(self.followed.wait(), 10)


async def golden(stage: Stage) -> None:
    """A run as it should be."""
    text = f"You said: {stage.content}"
    await stage.tell("agent_started", task=stage.content)
    await stage.tell("agent_thinking", text="reading the question", step=1)
    await stage.tell("tool_executing", call_id="c1", tool="clock", arguments={"zone": "UTC"})
    await stage.tell("tool_completed", call_id="c1", tool="clock", ok=True, result="12:00", duration_ms=3)
    half = len(text) // 2
    await stage.delta(text[:half], 0)
    await stage.delta(text[half:], half)
    await stage.tell("message_completed", message_id="m1", content=text)
    await stage.tell("agent_completed", output=text, usage=USAGE, duration_ms=1234)


class Peer:
    """The server. `script` plays each run; `limits` on its behaviour are attributes."""

    def __init__(self, script: Script = golden) -> None:
        self.script = script
        self.expires_in: float = 900
        self.answers_messages = True
        self.greets = True
        self.limits: dict[str, Any] = {}
        self.shut = False
        self.refresh_allowed = True
        self.refuse: dict[str, Any] | None = None
        self.drop_messages = 0
        self.close_at_greeting: list[int] = []
        self.answer_upgrade: list[web.Response] = []
        self.answer_refresh: list[web.Response] = []
        self.first_frames: list[str | bytes] = []
        self.logins = self.refreshes = self.sockets = 0
        self.frames: list[dict[str, Any]] = []
        self.runs: dict[str, Stage] = {}
        self.keys: dict[str, Stage] = {}
        self.approvals: dict[str, tuple[Stage, dict[str, Any]]] = {}
        self.questions: dict[str, tuple[Stage, dict[str, Any]]] = {}
        self.tokens: set[str] = set()
        self.transports: dict[web.WebSocketResponse, Any] = {}
        self.url = ""
        self._numbers = itertools.count(1)
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/api/auth/login", self.login)
        app.router.add_post("/api/auth/refresh", self.refresh)
        app.router.add_post("/api/auth/logout", self.logout)
        app.router.add_get("/api/agents", self.agents)
        app.router.add_get("/api/threads", self.threads)
        app.router.add_get("/api/threads/{thread_id}", self.thread)
        app.router.add_get("/api/threads/{thread_id}/messages", self.messages)
        app.router.add_get("/api/runs/{run_id}", self.run)
        app.router.add_get("/api/runs/{run_id}/events", self.events)
        app.router.add_post("/api/runs/{run_id}/cancel", self.cancel)
        app.router.add_get("/api/approvals", self.listed)
        app.router.add_get("/api/questions", self.asked)
        app.router.add_get("/ws", self.ws)
        return app

    def issue(self, name: str) -> web.Response:
        token = f"token-{next(self._numbers)}"
        self.tokens = {token}
        body = {"access_token": token, "token_type": "bearer", "expires_in": self.expires_in, "user": {"user_id": name}}
        response = web.json_response(body)
        response.set_cookie("netra_refresh", f"refresh-{token}", path="/api/auth", httponly=True)
        return response

    async def login(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["password"] != PASSWORD:
            return problem(401, "unauthenticated", "the name or the password is wrong")
        self.logins += 1
        return self.issue(body["username"])

    async def refresh(self, request: web.Request) -> web.Response:
        if self.answer_refresh:
            return self.answer_refresh.pop(0)
        if not self.refresh_allowed or "netra_refresh" not in request.cookies:
            return problem(401, "unauthenticated", "the login has ended")
        self.refreshes += 1
        self._news.set()
        return self.issue("ada")

    async def logout(self, _: web.Request) -> web.Response:
        self.tokens = set()
        return web.Response(status=204)

    def allowed(self, request: web.Request) -> bool:
        return request.headers.get("Authorization", "").removeprefix("Bearer ") in self.tokens

    async def agents(self, request: web.Request) -> web.Response:
        if not self.allowed(request):
            return problem(401, "unauthenticated", "log in")
        items = [{"name": "assistant", "description": "Answers."}, {"name": "greeter", "description": "Greets."}]
        return web.json_response({"items": items, "next_cursor": None})

    async def threads(self, _: web.Request) -> web.Response:
        item = {"thread_id": "thr_1", "title": "Time", "created_at": AT, "updated_at": AT}
        return web.json_response({"items": [item], "next_cursor": None})

    async def thread(self, request: web.Request) -> web.Response:
        thread_id = request.match_info["thread_id"]
        runs = [self.shape(stage) for stage in self.runs.values() if stage.thread_id == thread_id]
        if thread_id != "thr_1" and not runs:
            return problem(404, "not_found", "there is no such thread")
        runs = [run for run in runs if run["status"] != "ended"]
        item = {"thread_id": thread_id, "title": "Time", "created_at": AT, "updated_at": AT, "runs": runs}
        return web.json_response(item)

    def shape(self, stage: Stage) -> dict[str, Any]:
        ids = {"run_id": stage.run_id, "thread_id": stage.thread_id, "agent": stage.agent}
        return {**ids, "status": stage.status, "last_seq": len(stage.log)}

    async def messages(self, request: web.Request) -> web.Response:
        known = {"thr_1", *(stage.thread_id for stage in self.runs.values())}
        if request.match_info["thread_id"] not in known:
            return problem(404, "not_found", "there is no such thread")
        item = {"message_id": "m0", "run_id": "r0", "role": "user", "content": "hello before", "created_at": AT}
        return web.json_response({"items": [item], "next_cursor": None})

    async def listed(self, request: web.Request) -> web.Response:
        """One on each page."""
        items = [
            {**asked, "run_id": stage.run_id, "thread_id": stage.thread_id, "requested_at": AT, "decision": None}
            for stage, asked in self.approvals.values()
        ]
        number = int(request.query.get("cursor", "0"))
        more = str(number + 1) if number + 1 < len(items) else None
        return web.json_response({"items": items[number : number + 1], "next_cursor": more})

    async def asked(self, _: web.Request) -> web.Response:
        more = {"asked_at": AT, "expires_at": AT}
        items = [
            {**asked, "run_id": stage.run_id, "thread_id": stage.thread_id, **more}
            for stage, asked in self.questions.values()
        ]
        return web.json_response({"items": items, "next_cursor": None})

    def answer(self, frame: dict[str, Any]) -> dict[str, Any]:
        stage, _ = self.questions.pop(frame["question_id"], (None, None))
        if stage is None:
            return {"type": "error", "id": frame["id"], "code": "already_decided", "message": "it was answered before"}
        stage.decisions.put_nowait(frame)
        return {"type": "ok", "id": frame["id"]}

    def decide(self, frame: dict[str, Any]) -> dict[str, Any]:
        stage, _ = self.approvals.pop(frame["approval_id"], (None, None))
        if stage is None:
            return {"type": "error", "id": frame["id"], "code": "already_decided", "message": "it was decided before"}
        stage.decisions.put_nowait(frame)
        return {"type": "ok", "id": frame["id"]}

    async def run(self, request: web.Request) -> web.Response:
        stage = self.runs.get(request.match_info["run_id"])
        if stage is None:
            return problem(404, "not_found", f"there is no run {request.match_info['run_id']}")
        return web.json_response(self.shape(stage))

    async def events(self, request: web.Request) -> web.Response:
        stage = self.runs[request.match_info["run_id"]]
        after = int(request.query.get("after", "0"))
        return web.json_response({"events": stage.log[after : after + 3], "last_seq": len(stage.log)})

    async def cancel(self, request: web.Request) -> web.Response:
        self.runs[request.match_info["run_id"]].cancelled.set()
        return web.json_response({"ok": True})

    async def ws(self, request: web.Request) -> web.StreamResponse:
        if self.shut:
            return web.Response(status=503)
        if self.answer_upgrade:
            return self.answer_upgrade.pop(0)
        socket = web.WebSocketResponse(protocols=("netra.v1",), heartbeat=25)
        await socket.prepare(request)
        self.transports[socket] = request.transport
        self.sockets += 1
        if self.close_at_greeting:
            await socket.close(code=self.close_at_greeting.pop(0))
            return socket
        if not self.allowed(request):
            await socket.close(code=4401)
            return socket
        for frame in self.first_frames:
            await (socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_str(frame))
        if self.greets:
            await socket.send_json(
                {
                    "type": "connection_established",
                    "protocol": "netra.v1",
                    "connection_id": f"con_{self.sockets}",
                    "user_id": "ada",
                    "heartbeat_s": 25,
                    "limits": self.limits,
                }
            )
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await self.took(socket, message.json())
        for stage in self.runs.values():
            stage.followers.discard(socket)
        return socket

    async def took(self, socket: web.WebSocketResponse, frame: dict[str, Any]) -> None:
        self.frames.append(frame)
        self._news.set()
        if self.refuse is not None and frame["type"] in ("user_message", "cancel", "subscribe", "decide"):
            await socket.send_json({"type": "error", "id": frame["id"], **self.refuse})
            return
        match frame["type"]:
            case "user_message":
                await self.accept(socket, frame)
            case "subscribe":
                await socket.send_json({"type": "ok", "id": frame["id"]})
                await self.join(socket, self.runs[frame["run_id"]], frame["after"])
            case "unsubscribe":
                self.runs[frame["run_id"]].followers.discard(socket)
                await socket.send_json({"type": "ok", "id": frame["id"]})
            case "cancel":
                self.runs[frame["run_id"]].cancelled.set()
                await socket.send_json({"type": "ok", "id": frame["id"]})
            case "decide":
                await socket.send_json(self.decide(frame))
            case "answer":
                await socket.send_json(self.answer(frame))
            case "authenticate":
                await socket.send_json({"type": "ok", "id": frame["id"]})
            case _:
                await socket.send_json({"type": "error", "id": frame.get("id"), "code": "unknown_type", "message": "?"})

    async def accept(self, socket: web.WebSocketResponse, frame: dict[str, Any]) -> None:
        if not self.answers_messages:
            return
        stage = self.keys.get(frame["idempotency_key"])
        fresh = stage is None
        if stage is None:
            number = next(self._numbers)
            thread_id = frame.get("thread_id") or f"thr_{number}"
            agent = frame.get("agent") or "assistant"
            stage = Stage(self, f"run_{number}", thread_id, f"msg_{number}", frame["content"], agent)
            self.keys[frame["idempotency_key"]] = self.runs[stage.run_id] = stage
        if self.drop_messages:
            # Accepted and lost on the way back: what an idempotency key is for.
            self.drop_messages -= 1
            self.transports[socket].abort()
        else:
            ids = {"thread_id": stage.thread_id, "run_id": stage.run_id, "message_id": stage.message_id}
            await socket.send_json({"type": "message_accepted", "id": frame["id"], **ids})
            await self.join(socket, stage, 0)
        if fresh:
            self._tasks.append(asyncio.create_task(self._play(stage)))

    async def join(self, socket: web.WebSocketResponse, stage: Stage, after: int) -> None:
        for event in stage.log[after:]:
            await socket.send_json(event)
        if stage.snapshot is not None:
            await socket.send_json(stage.snapshot)
        stage.followers.add(socket)
        stage.followed.set()

    def cut(self) -> None:
        """Tears every socket down without a word."""
        for transport in self.transports.values():
            transport.abort()

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator["Peer"]:
        runner = web.AppRunner(self.app(), shutdown_timeout=0.2, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = "http://127.0.0.1:%d" % runner.addresses[0][1]  # noqa: UP031
        try:
            yield self
        finally:
            for task in self._tasks:
                task.cancel()
            await runner.cleanup()
        for task in await asyncio.gather(*self._tasks, return_exceptions=True):
            if isinstance(task, Exception):
                raise task

    async def _play(self, stage: Stage) -> None:
        await self.script(stage)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until a frame or a refresh makes the condition true."""
        while not condition():
            self._news.clear()
            await self._news.wait()


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    body = {"type": "about:blank", "title": code, "status": status, "detail": detail, "code": code}
    return web.json_response(body, status=status, content_type="application/problem+json", headers=headers)
