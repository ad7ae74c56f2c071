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
import time
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
    def over_http(cls, place: Path, *, port: int = 0, kind: str = "http") -> "Iterator[Echo]":
        """A process that serves on a loopback port until it is left."""
        notes = place / "notes.log"
        process = subprocess.Popen(
            [sys.executable, __file__, kind, str(port)],
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


def grants(port: int) -> dict[str, Any]:
    """An authorisation server beside it, where everybody says yes at once; its tokens are good for 2 s."""
    import secrets

    from mcp.server.auth.provider import AccessToken, AuthorizationCode, RefreshToken, construct_redirect_uri
    from mcp.server.auth.settings import AuthSettings, ClientRegistrationOptions
    from mcp.shared.auth import OAuthToken

    clients: dict[str, Any] = {}
    codes: dict[str, Any] = {}
    tokens: dict[str, Any] = {}

    class Grants:
        async def get_client(self, client_id: str) -> Any:
            return clients.get(client_id)

        async def register_client(self, client: Any) -> None:
            clients[client.client_id] = client

        async def authorize(self, client: Any, params: Any) -> str:
            code = AuthorizationCode(
                code=secrets.token_hex(16),
                client_id=client.client_id,
                scopes=params.scopes or [],
                expires_at=time.time() + 60,
                code_challenge=params.code_challenge,
                redirect_uri=params.redirect_uri,
                redirect_uri_provided_explicitly=params.redirect_uri_provided_explicitly,
                resource=params.resource,
            )
            codes[code.code] = code
            return construct_redirect_uri(str(params.redirect_uri), code=code.code, state=params.state)

        async def load_authorization_code(self, client: Any, code: str) -> Any:
            return codes.get(code)

        def minted(self, client: Any, granted: Any) -> OAuthToken:
            access, refresh = secrets.token_hex(16), secrets.token_hex(16)
            held = {"client_id": client.client_id, "scopes": granted.scopes, "resource": granted.resource}
            tokens[access] = AccessToken(token=access, expires_at=int(time.time()) + 2, **held)
            tokens[refresh] = RefreshToken(token=refresh, **held)
            return OAuthToken(access_token=access, token_type="Bearer", expires_in=2, refresh_token=refresh)

        async def exchange_authorization_code(self, client: Any, code: Any) -> OAuthToken:
            del codes[code.code]
            return self.minted(client, code)

        async def load_refresh_token(self, client: Any, token: str) -> Any:
            return tokens.get(token)

        async def exchange_refresh_token(self, client: Any, token: Any, scopes: Any) -> OAuthToken:
            del tokens[token.token]
            return self.minted(client, token)

        async def load_access_token(self, token: str) -> Any:
            found = tokens.get(token)
            return found if found is not None and found.expires_at > time.time() else None

    url = f"http://127.0.0.1:{port}"
    settings = AuthSettings(
        issuer_url=url,
        resource_server_url=f"{url}/mcp",
        validate_token_resource=True,
        client_registration_options=ClientRegistrationOptions(enabled=True),
    )
    return {"auth_server_provider": Grants(), "auth": settings}


def serve() -> None:
    """Serves."""
    from mcp.server.elicitation import AcceptedElicitation, ElicitationResult
    from mcp.server.mcpserver import Context, Elicit, MCPServer, Resolve
    from mcp.server.mcpserver.exceptions import ToolError
    from mcp.shared.exceptions import MCPError
    from starlette.requests import Request
    from starlette.responses import Response

    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    listening = None if sys.argv[1] == "stdio" else socket.create_server(("127.0.0.1", port))
    given = {} if sys.argv[1] != "oauth" or listening is None else grants(listening.getsockname()[1])
    server = MCPServer("echo", **given)
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
    async def traced(context: Context[Any, Any]) -> str:
        """Notes in which trace it was asked, and fails."""
        note("traced", (context.request_context.meta or {}).get("traceparent"))
        raise MCPError(code=-32042, message="heliotrope")

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

    if listening is None:
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

    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(door, log_level="critical", lifespan="on")
    asyncio.run(uvicorn.Server(config).serve([listening]))


if __name__ == "__main__":
    serve()
