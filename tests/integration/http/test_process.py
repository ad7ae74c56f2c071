"""`serve` as a process: ports, sentences, signals, exit codes."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys

from tests.integration.http.serving import HASH, Client, Served, add_users, client_of

from netra_apex import Settings
from netra_apex.stores import open_stores

PROGRAM = """
import asyncio, sys
from netra_apex import AgentRegistry, BaseAgent, Settings
from netra_apex.server import serve

class Minute(BaseAgent):
    name = "minute"

    async def run(self, task, scope):
        await scope.think("it takes a while")
        await asyncio.sleep(float(task))
        return "done"

sys.exit(serve(AgentRegistry([Minute]), Settings.load()))
"""


class Process:
    """A server in a process of its own."""

    def __init__(self, home, **settings):
        self.home = home
        values = {"home": home, "port": 0} | settings
        env = os.environ | {f"NETRA_{name}".upper(): str(value) for name, value in values.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=env,
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=10)

    def lines(self):
        """What it prints, until it is at its address."""
        printed = []
        while line := self.process.stdout.readline():
            printed.append(line.rstrip("\n"))
            if found := re.search(r"is at (http://\S+)", line):
                self.url = found[1]
            if line.startswith("Model:"):
                return printed
        raise AssertionError(f"it ended: {self.process.stderr.read()}")

    def ended(self):
        """(exit code, stdout, stderr) once it has ended."""
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err

    def talk(self, scenario):
        async def main():
            async with asyncio.timeout(20), client_of(Served(self.url, self.home, None, None, None)) as client:
                return await scenario(client)

        return asyncio.run(main())


def test_it_prints_its_address_the_model_and_the_first_admins_link_and_ends_with_0(tmp_path):
    with Process(tmp_path) as served:
        printed = served.lines()
        assert "offline demo" in printed[1]
        link = served.process.stdout.readline()
        assert re.search(rf"{re.escape(served.url)}/setup#[\w-]{{43}}$", link.strip())
        assert served.talk(lambda client: client.get("/readyz")).status == 200
        served.process.send_signal(signal.SIGTERM)
        code, _, err = served.ended()
        assert code == 0
        assert [json.loads(line)["event"] for line in err.splitlines()] == ["serving", "draining", "stopped"]


def test_a_port_in_use_is_one_sentence_and_exit_code_2(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Process(tmp_path, port=port) as served:
            code, out, err = served.ended()
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert f"127.0.0.1:{port}" in err


def test_a_home_in_use_is_one_sentence_and_exit_code_2(tmp_path):
    async def hold():
        async with open_stores(Settings(home=tmp_path), executing=True):
            with Process(tmp_path) as served:
                return await asyncio.to_thread(served.ended)

    code, out, err = asyncio.run(hold())
    assert (code, out) == (2, "")
    assert "another netra process" in err
    assert "Traceback" not in err


def test_a_database_that_is_none_and_an_address_that_is_not_ours_are_sentences_too(tmp_path):
    (tmp_path / "netra.db").write_bytes(b"this is no database, " * 100)
    with Process(tmp_path) as served:
        code, _, err = served.ended()
    assert (code, "Traceback" in err) == (2, False)
    assert "netra.db" in err
    with Process(
        tmp_path, host="no-such-host.invalid", secret_key=os.urandom(24).hex(), allowed_origins="https://a.org"
    ) as served:
        code, _, err = served.ended()
    assert (code, "Traceback" in err) == (2, False)
    assert "no-such-host.invalid" in err


def test_a_run_that_is_under_way_ends_before_the_server_does(tmp_path):
    add_users(tmp_path, ada=())
    with Process(tmp_path, drain_seconds=10) as served:
        served.lines()

        async def scenario(client: Client):
            await client.login()
            thread_id = await client.thread()
            run_id = await client.run(thread_id, content="1.5")
            bearer = {"Authorization": f"Bearer {client.token}"}
            async with client.http.ws_connect(client.url + "/ws", headers=bearer) as ws:
                await ws.receive_json()
                await ws.send_json({"type": "subscribe", "run_id": run_id, "after": 0})
                served.process.send_signal(signal.SIGTERM)
                while (await client.get("/readyz")).status == 200:  # noqa: ASYNC110 - a probe asks again
                    await asyncio.sleep(0.01)
                refused = await client.post(f"/api/threads/{thread_id}/runs", {"content": "0"})
                assert (refused.status, refused.json["code"]) == (503, "draining")
                told = [json.loads(message.data)["type"] async for message in ws]
                assert told[-1] == "agent_completed"
                assert ws.close_code == 1001

        served.talk(scenario)
        assert served.ended()[0] == 0


def test_a_run_that_takes_too_long_for_the_drain_is_left_to_the_next_start(tmp_path):
    add_users(tmp_path, ada=())
    with Process(tmp_path, drain_seconds=0.3) as served:
        served.lines()

        async def scenario(client):
            await client.login()
            return await client.run(await client.thread(), content="600")

        run_id = served.talk(scenario)
        served.process.send_signal(signal.SIGINT)
        assert served.ended()[0] == 0

    async def stored():
        async with open_stores(Settings(home=tmp_path)) as stores:
            return await stores.runs.events("ada", run_id, 0)

    events = [json.loads(body) for _, body in asyncio.run(stored())]
    assert "agent_started" in [event["type"] for event in events]
    assert not {event["type"] for event in events} & {"agent_completed", "agent_failed", "agent_cancelled"}


def test_a_second_signal_ends_it_at_once(tmp_path):
    add_users(tmp_path, ada=())
    with Process(tmp_path, drain_seconds=600) as served:
        served.lines()

        async def scenario(client):
            await client.login()
            await client.run(await client.thread(), content="600")
            served.process.send_signal(signal.SIGTERM)
            while (await client.get("/readyz")).status == 200:  # noqa: ASYNC110 - a probe asks again
                await asyncio.sleep(0.01)
            served.process.send_signal(signal.SIGTERM)

        served.talk(scenario)
        served.process.wait(5)
        assert served.process.returncode == -signal.SIGTERM


def test_nothing_that_is_secret_is_logged_and_proxies_are_not_believed_unasked(tmp_path):
    add_users(tmp_path, ada=())
    secret = os.urandom(24).hex()
    with Process(tmp_path, secret_key=secret) as served:
        served.lines()

        async def scenario(client):
            await client.login()
            await client.post("/api/auth/login", {"username": "ada", "password": "a wrong password"})
            with contextlib.suppress(ValueError):
                await client.get("/api/threads", headers={"X-Forwarded-For": "198.51.100.9"})
            return client

        client = served.talk(scenario)
        served.process.send_signal(signal.SIGTERM)
        code, out, err = served.ended()
        assert code == 0
        for word in (secret, client.token, *client.cookies.values(), "wrong password", HASH):
            assert word not in out + err
