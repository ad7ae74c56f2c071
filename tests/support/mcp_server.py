"""An MCP server in a process of its own, which says by whose credential it was asked: `mcp_server.py stdio|http`.

Over HTTP it prints its port. What it does is also written to the file that NOTES names, a line each.
"""

import asyncio
import hashlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel


def digest(text: str) -> str:
    """How the server names a credential without telling it."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Echo:
    """`with Echo.over_http(folder) as echo`: its url, what it wrote down, and its end."""

    def __init__(self, process: "subprocess.Popen[str]", notes: Path, url: str) -> None:
        self.process = process
        self.notes = notes
        self.url = url

    @classmethod
    @contextmanager
    def over_http(cls, place: Path, *, port: int = 0) -> "Iterator[Echo]":
        """A process that serves on a loopback port until it is left."""
        notes = place / "notes.log"
        process = subprocess.Popen(
            [sys.executable, __file__, "http", str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"NOTES": str(notes)},
            text=True,
        )
        assert process.stdout is not None
        try:
            yield cls(process, notes, f"http://127.0.0.1:{int(process.stdout.readline())}/mcp")
        finally:
            process.kill()
            process.wait(10)
            process.stdout.close()

    def kill(self) -> None:
        """As the machine's worst night does it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def lines(self) -> list[str]:
        """What it wrote down."""
        return lines(self.notes)


def lines(notes: Path) -> list[str]:
    """What a server wrote down."""
    return notes.read_text().splitlines() if notes.exists() else []


def command() -> tuple[str, ...]:
    """It as a command that speaks on its stdin and stdout."""
    return (sys.executable, __file__, "stdio")


class Size(BaseModel):
    """What is asked for."""

    size: int


def serve() -> None:
    """Serves."""
    from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
    from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
    from mcp.server.mcpserver.exceptions import ToolError
    from starlette.requests import Request
    from starlette.responses import Response

    server = MCPServer("echo")
    inside: list[str] = []
    counts: dict[str, int] = {}

    def note(*words: object) -> None:
        if "NOTES" in os.environ:
            with Path(os.environ["NOTES"]).open("a") as log:
                log.write(" ".join(map(str, words)) + "\n")

    def credential(context: Context[Any, Any]) -> str:
        said = (context.headers or {}).get("authorization", "").removeprefix("Bearer ")
        return said or os.environ.get("ECHO_TOKEN", "")

    @server.tool()
    async def whoami(context: Context[Any, Any], together: int = 1) -> dict[str, Any]:
        """Says by whose credential it was asked, once so many are inside."""
        mine = digest(credential(context))
        inside.append(mine)
        while len(inside) % together:  # noqa: ASYNC110 - as many come as were said
            await asyncio.sleep(0.001)
        return {"bearer": mine, "pid": os.getpid()}

    @server.tool()
    async def blurt(context: Context[Any, Any]) -> str:
        """Tells the credential itself."""
        return f"it is {credential(context)}, indeed"

    @server.tool()
    async def environment() -> list[str]:
        """Names of its environment."""
        return sorted(os.environ)

    @server.tool()
    async def count(context: Context[Any, Any]) -> int:
        """Counts how often it was asked, in this process."""
        note("count", os.getpid())
        counts["all"] = counts.get("all", 0) + 1
        return counts["all"]

    @server.tool()
    async def hold() -> str:
        """Does not end by itself."""
        note("hold")
        try:
            await asyncio.Event().wait()
        finally:
            note("let go")
        return "never"

    @server.tool()
    async def die() -> str:
        """Ends its process."""
        note("die")
        os._exit(1)

    @server.tool()
    async def fail(context: Context[Any, Any], why: str) -> str:
        """Fails, and says more than it should."""
        raise ToolError(f"{why} {credential(context)}")

    @server.tool()
    async def grow(context: Context[Any, Any]) -> str:
        """Has one tool more from now on."""

        async def grown() -> str:
            return "grown"

        server.add_tool(grown, name="grown", description="A tool that came later.")
        await context.notify_tools_changed()
        return "done"

    async def wanted() -> Elicit[Size]:
        return Elicit("Which size?", Size)

    @server.tool()
    async def measure(size: Annotated[ElicitationResult[Size], Resolve(wanted)]) -> str:
        """Asks for a size first."""
        note("measure")
        return f"size {size.data.size}" if isinstance(size, AcceptedElicitation) else size.action

    @server.custom_route("/", methods=["GET"])
    async def root(_: Request) -> Response:
        return Response("echo")

    if sys.argv[1] == "stdio":
        note("begins", os.getpid())
        server.run("stdio")
        note("ends", os.getpid())
        return
    import uvicorn

    app = server.streamable_http_app()

    async def door(scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope.get("headers", ()))
        if headers.get(b"authorization") == b"Bearer revoked-credential":
            await Response("no", 401)(scope, receive, send)
        else:
            await app(scope, receive, send)

    listening = socket.create_server(("127.0.0.1", int(sys.argv[2])))
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(door, log_level="critical", lifespan="on")
    asyncio.run(uvicorn.Server(config).serve([listening]))


if __name__ == "__main__":
    serve()
