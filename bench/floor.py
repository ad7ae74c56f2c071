"""`python -m bench.floor --port N`: the least that could do the job, by hand: a relay that keeps and checks nothing.

It stands beside our own figures, since what a run costs depends on the machine: same uvicorn, same aiohttp, two model
requests, every token passed on as a frame of its own.
"""

import argparse
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

LOOKUP = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}


async def login(_: Request) -> JSONResponse:
    """Lets everybody in."""
    return JSONResponse({"access_token": "anybody"})


async def talk(socket: WebSocket) -> None:
    """One connection: a message in, its answer out."""
    await socket.accept("netra.v1")
    await socket.send_text('{"type":"connection_established"}')
    try:
        while True:
            content = msgspec.json.decode(await socket.receive_text())["content"]
            await socket.send_text('{"type":"agent_started"}')
            messages: list[dict[str, Any]] = [{"role": "user", "content": content}]
            while calls := await relay(socket, messages):
                await socket.send_text('{"type":"tool_executing"}')
                messages.append({"role": "assistant", "content": None, "tool_calls": calls})
                messages += [
                    {"role": "tool", "tool_call_id": call["id"], "content": f"one order for {call['function']}"}
                    for call in calls
                ]
                await socket.send_text('{"type":"tool_completed"}')
            await socket.send_text('{"type":"agent_completed"}')
    except WebSocketDisconnect:
        return


async def relay(socket: WebSocket, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One model request; answers the calls that it asks for."""
    state = socket.app.state
    body = {"model": state.model, "messages": messages, "stream": True, "tools": [LOOKUP]}
    calls: list[dict[str, Any]] = []
    offset = 0
    async with state.http.post(state.url, data=msgspec.json.encode(body)) as response:
        async for line in response.content:
            if not line.startswith(b"data: {"):
                continue
            choices = msgspec.json.decode(line[6:])["choices"]
            if not choices:
                continue
            delta = choices[0]["delta"]
            for piece in delta.get("tool_calls") or ():
                _add(calls, piece)
            if text := delta.get("content"):
                frame = msgspec.json.encode({"type": "message_delta", "offset": offset, "text": text})
                await socket.send_text(frame.decode())
                offset += len(text)
    return calls


def _add(calls: list[dict[str, Any]], piece: Mapping[str, Any]) -> None:
    if piece.get("id"):
        function = {"name": piece["function"]["name"], "arguments": ""}
        calls.append({"id": piece["id"], "type": "function", "function": function})
    calls[-1]["function"]["arguments"] += piece["function"].get("arguments") or ""


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    """One session to the model for everybody."""
    app.state.url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
    app.state.model = os.environ["NETRA_MODEL"].removeprefix("openai:")
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, headers={"Content-Type": "application/json"}
    ) as app.state.http:
        yield


app = Starlette(
    routes=[Route("/api/auth/login", login, methods=["POST"]), WebSocketRoute("/ws", talk)], lifespan=lifespan
)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(
        app,
        port=parser.parse_args().port,
        ws="websockets-sansio",
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
    )
