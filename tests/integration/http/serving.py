"""A real server on a port of its own in a thread, and a real client."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from netra_apex import AgentRegistry, BaseAgent, Settings
from netra_apex.server.app import create_app
from netra_apex.server.passwords import hash_password
from netra_apex.server.serve import DrainingServer, _config, _listen
from netra_apex.stores import open_stores

PASSWORD = "correct horse battery"
HASH = hash_password(PASSWORD)
ENDINGS = ("agent_completed", "agent_failed", "agent_cancelled")


class Echo(BaseAgent):
    """Says it again."""

    name = "echo"

    async def run(self, task, scope):
        await scope.think("reading")
        return task


class Patient(BaseAgent):
    """Thinks, and then waits until it is stopped."""

    name = "patient"

    async def run(self, task, scope):
        await scope.think("waiting")
        await asyncio.Event().wait()


class Chatty(BaseAgent):
    """Thinks aloud, at length."""

    name = "chatty"

    async def run(self, task, scope):
        for _ in range(400):
            await scope.think("x" * 10_000)


class Guarded(BaseAgent):
    """For those who may read orders."""

    name = "guarded"
    requires = "orders:read"

    async def run(self, task, scope):
        return "secret"


class SilentModel:
    """A model that nobody asks."""

    name = "test:silent"

    def __init__(self, reason=None):
        self.reason = reason

    async def complete(self, request, deltas):
        raise NotImplementedError

    async def check(self):
        return self.reason

    async def aclose(self):
        pass


@dataclass
class Served:
    """A running server, as its operator sees it."""

    url: str
    home: Path
    app: object
    server: DrainingServer
    loop: asyncio.AbstractEventLoop

    def on_loop(self, coroutine):
        """The result of a coroutine that runs where the server runs."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    def services(self):
        return self.on_loop(self.app.state.lifecycle.services())


def add_users(home, **users):
    """Makes accounts: name=permissions."""

    async def main():
        async with open_stores(Settings(home=home)) as stores:
            for name, permissions in users.items():
                await stores.accounts.add_user(name, HASH, frozenset(permissions))

    asyncio.run(main())


@contextlib.contextmanager
def serving(
    home, *, agents=(Echo, Patient, Guarded), model=None, wrap=None, users=True, **settings
) -> Iterator[Served]:
    """Serves until the block ends. `wrap` puts the application into another one."""
    settings = Settings(**{"home": home, "port": 0, "drain_seconds": 0.2} | settings)
    if users:
        add_users(home, ada={"orders:read"}, bob=(), root={"admin"})
    listening = _listen(settings)
    app = create_app(AgentRegistry(agents), settings, model=model or SilentModel())
    server = DrainingServer(_config(wrap(app) if wrap else app, settings), app.state.lifecycle)
    started, failed = threading.Event(), []
    loops = []

    async def main():
        loops.append(asyncio.get_running_loop())
        serve = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started and not serve.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.005)
        started.set()
        await serve

    def thread():
        try:
            with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
                runner.run(main())
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failed.append(error)
        finally:
            started.set()

    running = threading.Thread(target=thread)
    running.start()
    try:
        assert started.wait(20)
        if failed:
            raise failed[0]
        port = listening.getsockname()[1]
        yield Served(f"http://127.0.0.1:{port}", home, app, server, loops[0])
    finally:
        server.handle_exit(0, None)
        running.join(20)
        listening.close()
        assert not running.is_alive()


@dataclass
class Answer:
    status: int
    headers: object
    text: str
    json: object = None


@dataclass
class Client:
    """One client, with or without a login; cookies only where they are asked for."""

    http: aiohttp.ClientSession
    url: str
    token: str | None = None
    cookies: dict = field(default_factory=dict)

    async def call(self, method, path, body=None, *, headers=None, bearer=True, cookies=(), data=None):
        headers = dict(headers or {})
        if bearer and self.token:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        sent = {name: self.cookies[name] for name in cookies}
        if sent:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in sent.items())
        async with self.http.request(
            method, self.url + path, json=body, data=data, headers=headers, allow_redirects=False
        ) as response:
            text = (await response.read()).decode()
            json = await response.json(content_type=None) if "json" in response.content_type else None
            self.cookies |= {name: morsel.value for name, morsel in response.cookies.items()}
            return Answer(response.status, response.headers, text, json)

    async def get(self, path, **more):
        return await self.call("GET", path, **more)

    async def post(self, path, body=None, **more):
        return await self.call("POST", path, body, **more)

    async def login(self, name="ada", password=PASSWORD):
        answer = await self.post("/api/auth/login", {"username": name, "password": password})
        assert answer.status == 200, answer.text
        self.token = answer.json["access_token"]
        return self

    async def thread(self, title="A thread"):
        answer = await self.post("/api/threads", {"title": title})
        assert answer.status == 201, answer.text
        return answer.json["thread_id"]

    async def run(self, thread_id, content="hello", **more):
        answer = await self.post(f"/api/threads/{thread_id}/runs", {"content": content, **more})
        assert answer.status == 202, answer.text
        return answer.json["run_id"]

    async def ended(self, run_id):
        """The run, once it has ended."""
        while True:
            run = (await self.get(f"/api/runs/{run_id}")).json
            if run["ended_at"]:
                return run
            await asyncio.sleep(0.01)

    async def sse(self, run_id, *, headers=None, query=""):
        """Events of a stream as (id, data), as they come; comments are left out."""
        headers = {"Accept": "text/event-stream", "Authorization": f"Bearer {self.token}"} | (headers or {})
        async with self.http.get(f"{self.url}/api/runs/{run_id}/events{query}", headers=headers) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
            ident = data = None
            async for raw in response.content:
                line = raw.decode().rstrip("\n")
                if line.startswith("id: "):
                    ident = int(line[4:])
                elif line.startswith("data: "):
                    data = line[6:]
                elif not line and data is not None:
                    yield ident, data
                    ident = data = None


@contextlib.asynccontextmanager
async def client_of(served) -> AsyncIterator[Client]:
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield Client(http, served.url)


def talk(served, scenario, seconds=30):
    """Runs `scenario(client)` against the server, within a bound of time."""

    async def main():
        async with asyncio.timeout(seconds), client_of(served) as client:
            await scenario(client)

    asyncio.run(main())
