"""Nothing of one user reaches another: a canary each in everything that holds text, and all of them inside at once."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.isolation.served_app import secret_of
from tests.support.server import Server
from tests.support.socket_client import play
from tests.support.streams import answer_of, check_run, words

APP = Path(__file__).with_name("served_app.py")


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    place = tmp_path_factory.mktemp("canaries")
    with Server(place, app=APP, wire=wire, people=70, allowed_origins="https://app.example.org") as server:
        yield server


def canaries(name):
    """All that is this user's alone, and would show wherever it leaked."""
    return {name, f"title-of-{name}", f"said-by-{name}", f"told-to-{name}", secret_of(name)}


def owners(text, names):
    """Whose canaries a text holds."""
    return {name for name in names if name in text}


class Person:
    """A user with two tabs: one asks, one watches."""

    def __init__(self, client, login):
        self.client, self.login, self.name = client, login, login.name

    async def arrive(self):
        self.thread_id = await self.client.thread(self.login, f"title-of-{self.name}")
        self.tabs = [await self.client.socket(self.login), await self.client.socket(self.login)]
        await self.tabs[1].follow(thread_id=self.thread_id)
        return self

    async def ask(self, content, **more):
        accepted = await self.tabs[0].ask(content, thread_id=self.thread_id, **more)
        for tab in self.tabs:
            await tab.ended(accepted["run_id"], seconds=40)
            check_run(tab.of(accepted["run_id"]))
        return accepted["run_id"]

    async def read_all(self):
        """Every answer that HTTP gives of this user's things."""
        paths = ["/api/auth/me", "/api/threads", "/api/threads?q=title-of", "/api/agents"]
        paths += [f"/api/threads/{self.thread_id}", f"/api/threads/{self.thread_id}/messages"]
        runs = {frame["run_id"] for frame in self.tabs[0].frames if frame["type"] == "message_accepted"}
        paths += [f"/api/runs/{run_id}{what}" for run_id in runs for what in ("", "/events")]
        answers = [await self.client.get(path, self.login) for path in paths]
        assert {answer.status for answer in answers} == {200}
        streams = [data async for run_id in _each(runs) async for _, data in self.client.sse(self.login, run_id)]
        return [answer.text for answer in answers] + streams


async def _each(items):
    for item in items:
        yield item


@pytest.mark.parametrize("count", [10, 50])
def test_no_user_is_shown_anything_of_another_who_asks_the_same_at_the_same_time(server, wire, count):
    async def scenario(client):
        logins = [await client.login(server.person()) for _ in range(count)]
        names = [login.name for login in logins]
        people = await asyncio.gather(*(Person(client, login).arrive() for login in logins))
        for tool in ("consult", "consult_in_a_thread"):
            first = [
                f"Where is my order? said-by-{person.name} party:first{tool}{count}:{count}"
                f" [[call={tool} chunks=12 delay=4 tag=told-to-{person.name}-]]"
                for person in people
            ]
            run_ids = await asyncio.gather(*(p.ask(content) for p, content in zip(people, first, strict=True)))
            for person, run_id in zip(people, run_ids, strict=True):
                frames = person.tabs[0].of(run_id)
                assert answer_of(frames) == words(12, f"told-to-{person.name}-")
                result = next(frame["result"] for frame in frames if frame["type"] == "tool_completed")
                assert secret_of(person.name) in json.dumps(result)
                # The variable was nobody's before this call, and its own after all had met.
                if tool == "consult":
                    assert result.split()[1:3] == ["nobody's", person.name]
                else:
                    assert (result["before"], result["after"]) == (["nobody's", "nobody's"], [person.name] * 2)
        # The same words from everybody, with the same key; what differs is whose conversation it is.
        again = f"And again? party:again{count}:{count} [[call=consult chunks=4]]"
        await asyncio.gather(*(person.ask(again, idempotency_key="again") for person in people))

        for person in people:
            others = set(names) - {person.name}
            for tab in person.tabs:
                assert owners("".join(tab.texts), others) == set()
            told = await person.read_all()
            assert owners("".join(told), others) == set()
            for canary in canaries(person.name):
                assert canary in "".join(told)
            neighbour = names[names.index(person.name) - 1]
            for query in (f"title-of-{neighbour}", f"said-by-{neighbour}", neighbour):
                assert (await client.get(f"/api/threads?q={query}", person.login)).json["items"] == []
        assert owners((await client.get("/metrics")).text, names) == set()
        return names

    wire.forget()
    names = play(server, scenario, seconds=100)
    prompts = [json.dumps(request["messages"]) for request in wire.requests()]
    assert len(prompts) == 6 * count
    for prompt in prompts:
        assert len(owners(prompt, names)) == 1, prompt
    for table, columns in _tables(server):
        assert "user_id" in columns or table in ("setup_token", "workers", "day_parts", "audit", "incidents")
        for row in server.rows(f"select * from {table}"):
            owner = row[columns.index("user_id")] if "user_id" in columns else None
            assert owners(" ".join(map(str, row)), names) <= {owner}, (table, row)
    for line in server.log().splitlines():
        assert len(owners(line, names)) <= 1, line


def _tables(server):
    for (table,) in server.rows("select name from sqlite_master where type = 'table'"):
        yield table, [row[1] for row in server.rows(f"select * from pragma_table_info('{table}')")]


def test_what_one_users_tool_says_as_it_fails_stays_in_that_users_lines_and_frames(server):
    async def scenario(client):
        logins = [await client.login(server.person()) for _ in range(5)]
        people = await asyncio.gather(*(Person(client, login).arrive() for login in logins))
        contents = [f"Find it, said-by-{p.name} party:crash:5 [[call=crash chunks=3]]" for p in people]
        await asyncio.gather(*(p.ask(content) for p, content in zip(people, contents, strict=True)))
        names = [person.name for person in people]
        for person in people:
            failed = await person.tabs[0].frame("tool_completed")
            assert failed["ok"] is False
            assert owners(failed["error"]["message"], names) == {person.name}
            assert owners("".join(person.tabs[1].texts), set(names) - {person.name}) == set()
        return names

    names = play(server, scenario)
    lines = [line for line in server.log().splitlines() if "tool failed" in line and owners(line, names)]
    assert len(lines) == 5
    for line in lines:
        assert owners(line, names) == {json.loads(line)["user_id"]}
