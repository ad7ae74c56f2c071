"""Questions that a run asks its user, in a real server: over HTTP and the socket, over kills, each answered once."""

import asyncio
import json
import random
import re
import signal

import pytest
from tests.support.bounded import passed
from tests.support.server import PASSWORD
from tests.support.socket_client import play
from tests.support.streams import answer_of, check_run
from tests.support.waiting import begun, outcome, serving, waits

from netra_apex import Settings
from netra_apex.stores import open_stores

APP = '''
import asyncio
from pathlib import Path
from netra_apex import AgentRegistry, BaseAgent, CallFailed, ChatAgent, RunScope, SupervisorAgent, ask_user, tool

PLACE = Path(__file__).parent

@tool
async def book(query: str) -> str:
    """Books."""
    with (PLACE / "tool.log").open("a") as log:
        log.write(f"book {query}\\n")
    return f"booked {query}"

class Assistant(ChatAgent):
    name = "assistant"
    instructions = "Ask."
    tools = (ask_user, book)

class Asker(BaseAgent):
    """Asks what its task says, one after another, and books."""
    name = "asker"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        said = []
        for text in task.split(","):
            try:
                said.append(await scope.tools.call(book, await scope.tools.call(ask_user, text)))
            except CallFailed as failed:
                said.append(failed.code)
        return said

class Lead(SupervisorAgent):
    """Has two of them ask side by side."""
    name = "lead"
    members = (Asker,)

    async def run(self, task: str, scope: RunScope) -> list[str]:
        results = await asyncio.gather(*(scope.delegate(Asker, each) for each in task.split(";")))
        return [result.output for result in results]

registry = AgentRegistry([Assistant, Asker, Lead])
'''


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    with serving(tmp_path_factory.mktemp("questions"), wire, APP) as server:
        yield server
        assert "Traceback" not in server.log()


@pytest.fixture
def mortal(tmp_path, wire):
    """A server that does not outlive the test."""
    return serving(tmp_path, wire, APP)


async def pending(client, login):
    return (await client.get("/api/questions", login)).json["items"]


async def asked(client, login, socket, content, agent="asker"):
    """A run that waits, and what it asks."""
    return await begun(client, login, socket, content, agent=agent, tells="question_asked")


@pytest.mark.parametrize("way", ["http", "socket"])
def test_a_model_asks_a_person_answers_and_the_model_goes_on(server, way):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        run_id, event = await asked(client, login, socket, "which? [[call=ask_user chunks=3]]", agent="assistant")
        (listed,) = await pending(client, login)
        assert listed.keys() == {
            "question_id", "run_id", "thread_id", "call_id", "text", "asked_at", "expires_at",
        }  # fmt: skip
        shared = ("question_id", "call_id", "text", "run_id", "thread_id")
        assert {name: listed[name] for name in shared} == {name: event[name] for name in shared}
        assert (listed["text"], event["depth"]) == ("which?", 0)
        if way == "http":
            answer = await client.post(f"/api/questions/{listed['question_id']}", login, {"content": "this one"})
            assert (answer.status, answer.json) == (200, listed)
        else:
            answer = await socket.answer("answer", question_id=listed["question_id"], content="this one")
            assert answer["type"] == "ok"
        await socket.ended(run_id)
        events = check_run(socket.of(run_id))
        assert answer_of(events) == "word0 word1 word2 "
        kinds = [event["type"] for event in events]
        first = kinds.index("tool_executing")
        assert kinds[first : first + 4] == [
            "tool_executing", "question_asked", "question_answered", "tool_completed",
        ]  # fmt: skip
        assert (events[first + 2]["content"], events[first + 3]["result"]) == ("this one", "this one")
        assert await pending(client, login) == []
        assert await client.events(login, run_id) == events

    play(server, scenario)


def test_what_is_no_answer_is_refused_with_a_code_and_answers_nothing(server):
    async def scenario(client):
        login, other = await client.login(server.person()), await client.login(server.person())
        socket = await client.socket(login)
        run_id, event = await asked(client, login, socket, "refusals?")
        path = f"/api/questions/{event['question_id']}"

        async def refused(status, code, path, who, body):
            answer = await client.post(path, who, body)
            assert (answer.status, answer.json["code"]) == (status, code), answer.text

        await refused(401, "unauthenticated", path, None, {"content": "x"})
        await refused(404, "not_found", path, other, {"content": "x"})
        for wrong in ("que_1", "a%00b", "%ff", "%F0%9F%98%80"):
            await refused(404, "not_found", f"/api/questions/{wrong}", login, {"content": "x"})
        contents = ["", "  \n", "x" * 10_001, "a\0b", 1, None, ["x"]]
        for body in [{}, [], "x", {"content": "x", "by": "root"}, *({"content": each} for each in contents)]:
            await refused(422, "invalid", path, login, body)
        stranger = await client.socket(other)
        answer = await stranger.answer("answer", question_id=event["question_id"], content="x")
        assert (answer["type"], answer["code"]) == ("error", "not_found")
        for content in contents:
            answer = await socket.answer("answer", question_id=event["question_id"], content=content)
            assert (answer["type"], answer["code"]) == ("error", "invalid"), answer
        await waits(client, login, run_id)
        assert len(await pending(client, login)) == 1
        assert (await client.post(path, login, {"content": "x" * 10_000})).status == 200
        await refused(409, "already_decided", path, login, {"content": "x"})
        assert await outcome(socket, run_id) == ["booked " + "x" * 10_000]
        await refused(409, "already_decided", path, login, {"content": "x"})
        answer = await socket.answer("answer", question_id=event["question_id"], content="x")
        assert (answer["type"], answer["code"]) == ("error", "already_decided")

    play(server, scenario)


def test_answers_that_come_at_once_over_http_and_sockets_are_one(server):
    async def scenario(client):
        login = await client.login(server.person())
        sockets = [await client.socket(login) for _ in range(3)]
        for number in range(8):
            run_id, event = await asked(client, login, sockets[0], f"at once {number}?")

            async def over_http(content, event=event):
                answer = await client.post(f"/api/questions/{event['question_id']}", login, {"content": content})
                return content, answer.json.get("code", "ok")

            async def over_socket(socket, content, event=event):
                answer = await socket.answer("answer", question_id=event["question_id"], content=content)
                return content, answer.get("code", "ok")

            deeds = [over_http("a"), over_http("b"), over_socket(sockets[1], "c"), over_socket(sockets[2], "d")]
            random.shuffle(deeds)
            answers = await asyncio.gather(*deeds)
            assert sorted(code for _, code in answers) == ["already_decided"] * 3 + ["ok"]
            (won,) = [content for content, code in answers if code == "ok"]
            assert await outcome(sockets[0], run_id) == [f"booked {won}"]

    play(server, scenario)


def test_of_two_users_who_are_asked_at_once_neither_sees_nor_answers_the_others_question(server):
    async def scenario(client):
        logins = [await client.login(server.person()) for _ in range(2)]
        sockets = [await client.socket(login) for login in logins]
        for number in range(5):
            pairs = zip(logins, sockets, strict=True)
            runs = [await asked(client, login, socket, f"{login.name} {number}?") for login, socket in pairs]
            barrier = asyncio.Barrier(4)

            async def answers(which, whose, runs=runs, barrier=barrier):
                await barrier.wait()
                body = {"content": f"said by {logins[which].name}"}
                answer = await client.post(f"/api/questions/{runs[whose][1]['question_id']}", logins[which], body)
                return answer.status

            for login in logins:
                assert [each["text"] for each in await pending(client, login)] == [f"{login.name} {number}?"]
            statuses = await asyncio.gather(*(answers(which, whose) for which in (0, 1) for whose in (0, 1)))
            assert statuses == [200, 404, 404, 200]
            for login, socket, (run_id, _) in zip(logins, sockets, runs, strict=True):
                assert await outcome(socket, run_id) == [f"booked said by {login.name}"]
        for login, socket in zip(logins, sockets, strict=True):
            other = next(each.name for each in logins if each is not login)
            assert other not in "".join(socket.texts)

    play(server, scenario)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_question_outlives_its_server_and_its_answer_is_taken_once(mortal, how):
    async def before(client):
        login = await client.login(mortal.person())
        socket = await client.socket(login)
        run_id, event = await asked(client, login, socket, "first?,second?")
        assert (await socket.answer("answer", question_id=event["question_id"], content="one"))["type"] == "ok"
        async with asyncio.timeout(15):
            while not [each for each in await pending(client, login) if each["text"] == "second?"]:
                await passed(0.02)
        await waits(client, login, run_id)
        mortal.signal(how)
        await asyncio.to_thread(mortal.ended)
        return login, run_id, event

    async def between(client):
        (question,) = await pending(client, login)
        mortal.signal(how)
        await asyncio.to_thread(mortal.ended)
        return question

    async def after(client):
        socket = await client.socket(login)
        await socket.follow(run_id=run_id, after=0)
        await waits(client, login, run_id)
        assert await pending(client, login) == [question]
        answer = await client.post(f"/api/questions/{first['question_id']}", login, {"content": "late"})
        assert (answer.status, answer.json["code"]) == (409, "already_decided")
        answer = await client.post(f"/api/questions/{question['question_id']}", login, {"content": "two"})
        assert answer.status == 200
        assert await outcome(socket, run_id) == ["booked one", "booked two"]
        shown = await asyncio.to_thread(mortal.netra, "runs", "show", run_id)
        assert question["question_id"] in shown.stdout
        assert "question_answered" in shown.stdout

    with mortal:
        login, run_id, first = play(mortal, before)
    with mortal:
        question = play(mortal, between)
    with mortal:
        play(mortal, after)
        mortal.kill()
    with mortal:
        assert mortal.tool_lines() == ["book one", "book two"]
        assert "Traceback" not in mortal.log()


def test_an_answer_that_was_stored_as_its_server_died_is_carried_out_at_the_next_start(mortal):
    async def before(client):
        login = await client.login(mortal.person())
        socket = await client.socket(login)
        run_id, event = await asked(client, login, socket, "which?")
        mortal.kill()
        async with open_stores(Settings(home=mortal.home)) as stores:
            await stores.questions.answer(login.name, event["question_id"], "that")
        return login, run_id

    async def after(client):
        socket = await client.socket(login)
        await socket.follow(run_id=run_id, after=0)
        assert await outcome(socket, run_id) == ["booked that"]

    with mortal:
        login, run_id = play(mortal, before)
    with mortal:
        play(mortal, after)


def test_killed_right_after_the_answer_the_run_is_given_that_answer(mortal):
    async def before(client):
        login = await client.login(mortal.person())
        socket = await client.socket(login)
        ids = []
        for number in range(3):
            run_id, event = await asked(client, login, socket, f"{number}?")
            ids.append((run_id, event["question_id"]))
        assert (await socket.answer("answer", question_id=ids[0][1], content="told 0"))["type"] == "ok"
        for number, (_, question_id) in enumerate(ids[1:], 1):
            await socket.send("answer", question_id=question_id, content=f"told {number}")
        mortal.kill()
        return login, [run_id for run_id, _ in ids]

    async def after(client):
        socket = await client.socket(login)
        for number, run_id in enumerate(run_ids):
            await socket.follow(run_id=run_id, after=0)
            for each in await pending(client, login):
                if each["run_id"] == run_id:
                    assert number, "the first was answered, and that was said"
                    await client.post(f"/api/questions/{each['question_id']}", login, {"content": f"told {number}"})
            ending = await socket.ended(run_id)
            check_run(socket.of(run_id), ending=ending["type"])
            if ending["type"] == "agent_completed":
                assert ending["output"] == [f"booked told {number}"]
            else:  # it was killed while it booked
                assert ending["code"] == "tool_outcome_unknown"

    with mortal:
        login, run_ids = play(mortal, before)
    with mortal:
        play(mortal, after)


def test_members_ask_side_by_side_and_are_answered_in_reverse_after_a_kill(mortal):
    async def before(client):
        login = await client.login(mortal.person())
        socket = await client.socket(login)
        run_id, _ = await asked(client, login, socket, "left?;right?", agent="lead")
        questions = await pending(client, login)
        assert [each["text"] for each in questions] == ["left?", "right?"]
        events = [event for event in socket.of(run_id) if event.get("type") == "question_asked"]
        assert {(event["agent"], event["depth"], event["parent_agent"]) for event in events} == {("asker", 1, "lead")}
        mortal.kill()
        return login, run_id, questions

    async def after(client):
        socket = await client.socket(login)
        await socket.follow(run_id=run_id, after=0)
        for each in reversed(questions):
            await waits(client, login, run_id)
            content = f"to {each['text']}"
            assert (await socket.answer("answer", question_id=each["question_id"], content=content))["type"] == "ok"
        assert await outcome(socket, run_id) == [["booked to left?"], ["booked to right?"]]

    with mortal:
        login, run_id, questions = play(mortal, before)
    with mortal:
        play(mortal, after)
    assert sorted(mortal.tool_lines()) == ["book to left?", "book to right?"]


def test_questions_are_listed_in_pages_and_end_with_their_cancelled_runs(server):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        events = [(await asked(client, login, socket, f"page {number}?"))[1] for number in range(5)]
        found, cursor = [], ""
        while cursor is not None:
            page = (await client.get(f"/api/questions?limit=2{cursor and '&cursor=' + cursor}", login)).json
            found += [each["question_id"] for each in page["items"]]
            cursor = page["next_cursor"]
        assert found == [event["question_id"] for event in events]
        for event in events:
            await socket.answer("cancel", run_id=event["run_id"])
            assert (await socket.ended(event["run_id"]))["type"] == "agent_cancelled"
            answer = await socket.answer("answer", question_id=event["question_id"], content="x")
            assert answer["code"] == "already_decided"
        assert await pending(client, login) == []

    play(server, scenario)


def test_nobody_answers_in_time_and_the_run_goes_on(tmp_path, wire):
    async def scenario(client):
        login = await client.login(server.person())
        socket = await client.socket(login)
        accepted = await socket.ask("which?", agent="asker")
        event = await socket.frame("question_asked", run_id=accepted["run_id"])
        assert await outcome(socket, accepted["run_id"]) == ["expired"]
        answer = await socket.answer("answer", question_id=event["question_id"], content="x")
        assert answer["code"] == "already_decided"

    with serving(tmp_path, wire, APP, approval_days=0.5 / 86_400) as server:
        play(server, scenario)


def test_what_was_answered_has_no_secrets_in_the_file(mortal):
    async def scenario(client):
        login = await client.login(mortal.person())
        socket = await client.socket(login)
        run_id, event = await asked(client, login, socket, "password=hunter2-hunter2?")
        assert "hunter2" not in json.dumps([event, *await pending(client, login)])
        await socket.answer("answer", question_id=event["question_id"], content="password=hunter3-hunter3")
        assert "hunter3" not in json.dumps(await outcome(socket, run_id))

    with mortal:
        play(mortal, scenario)
    files = b"".join(path.read_bytes() for path in mortal.home.glob("netra.db*"))
    assert b"hunter2" not in files
    assert b"hunter3" not in files


def test_a_person_answers_in_the_terminal(server):
    name = server.person()
    options = ("--url", server.url, "--user", name, "--agent", "asker", "--password-stdin")

    def chat(*lines, thread=()):
        return server.netra("chat", *options, *thread, stdin="\n".join((PASSWORD, *lines)) + "\n")

    done = chat("which month?,which day?", "May", "the 7th")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, '["booked May", "booked the 7th"]'), done.stderr
    assert "? asker asks: which month?" in done.stderr
    done = chat("which year?")
    assert (done.returncode, done.stdout) == (1, "")
    found = re.search(r"which year\? still waits: answer with netra chat --thread (\S+)\n$", done.stderr)
    assert found is not None, done.stderr
    done = chat("1815", thread=("--thread", found[1]))
    assert (done.returncode, done.stdout) == (0, '["booked 1815"]\n'), done.stderr
