"""AG-UI by its own client package, in Node: the golden path, questions, cuts, ends, and nobody else's anything."""

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import passed
from tests.support.server import Server
from tests.support.socket_client import ENDINGS, play

ROOT = Path(__file__).parents[2]
NODE = ROOT / "tests" / "node"
APP = ROOT / "tests" / "support" / "protocols_app.py"
APPROVED = {"status": "resolved", "payload": {"approved": True}}


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    if not (NODE / "node_modules" / "@ag-ui" / "client").is_dir():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("AG-UI's client is not installed: make test")
    with Server(tmp_path_factory.mktemp("agui"), app=APP, wire=wire, people=20, frames_burst=1000) as server:
        yield server
        failed = [json.loads(line) for line in server.log().splitlines() if "Traceback" in line]
        # Calls that were rejected fail their agent; nothing else has failed.
        assert {each["event"] for each in failed} <= {"agent failed"}


def login(server: Server, who: str):
    async def scenario(client):
        return await client.login(who)

    return play(server, scenario)


def talk(server: Server, who, agent: str, *turns: dict[str, Any], thread: str = "my thread") -> list[dict[str, Any]]:
    """What AG-UI's client was told in each turn; `who` is a login, or None for nobody."""
    script = {
        "url": f"{server.url}/api/agui/",
        "agent": agent,
        "headers": who.bearer if who else {},
        "threadId": thread,
        "turns": turns,
    }
    done = subprocess.run(
        [ROOT / "ui" / "with-node", "node", "agui.mjs", json.dumps(script)],
        cwd=NODE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kinds(turn) -> list[str]:
    return [event["type"] for event in turn["events"]]


def ours(event) -> dict[str, Any]:
    return event.get("metadata", {}).get("netra", {})


def seqs(turn) -> list[int]:
    return [ours(event)["seq"] for event in turn["events"] if "seq" in ours(event)]


def said(turn, role: str = "assistant") -> list[str]:
    return [each["content"] for each in turn["messages"] if each["role"] == role and each.get("content")]


def ending(turn) -> dict[str, Any]:
    return turn["events"][-1]


async def ended(client, who, run_id) -> str:
    """The run's last event, once it has ended."""
    while (await client.get(f"/api/runs/{run_id}", who)).json["status"] in ("running", "queued"):
        await passed(0.02)
    return (await client.events(who, run_id))[-1]["type"]


def test_the_golden_path_streams_and_the_next_turn_goes_on_in_the_same_thread(server, wire) -> None:
    who = login(server, server.person())
    first, second = talk(
        server,
        who,
        "assistant",
        {"say": "golden one [[call=look chunks=6 delay=20 think=2]]"},
        {"say": "golden two [[chunks=2]]"},
    )
    assert (first["error"], second["error"]) == (None, None)
    assert kinds(first)[0] == "RUN_STARTED"
    assert first["events"][0]["protocolVersion"] == "1.0"
    order = [
        "REASONING_START", "TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END", "TOOL_CALL_RESULT",
        "TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END", "RUN_FINISHED",
    ]  # fmt: skip
    places = [kinds(first).index(kind) for kind in order]
    assert places == sorted(places)
    assert seqs(first) == sorted(seqs(first))
    end = ending(first)
    assert end["outcome"] == {"type": "success"}
    assert end["result"] == "word0 word1 word2 word3 word4 word5 "
    assert end["usage"][0]["totalTokens"] == end["usage"][0]["inputTokens"] + end["usage"][0]["outputTokens"] > 0
    assert said(first) == [end["result"]]
    assert "hm0 hm1 " in said(first, "reasoning")
    asked = [each for each in wire.requests() if "golden two" in each["asked"]]
    assert len(asked[-1]["messages"]) > 3  # the history is the server's

    async def scenario(client):
        threads = (await client.get("/api/threads", who)).json["items"]
        return [(await client.get(f"/api/threads/{each['thread_id']}/messages", who)).json for each in threads]

    (messages,) = play(server, scenario)
    assert [each["role"] for each in messages["items"]] == ["user", "assistant"] * 2


def test_a_question_and_a_call_are_answered_by_the_next_run_and_the_call_is_made_once(server) -> None:
    who = login(server, server.person())
    asks, calls, done = talk(
        server,
        who,
        "payer",
        {"say": "go"},
        {"resume": {"status": "resolved", "payload": {"answer": "7"}}},
        {"runId": "last", "resume": APPROVED},
    )
    (question,), (approval,) = asks["interrupts"], calls["interrupts"]
    assert ending(asks)["outcome"]["type"] == ending(calls)["outcome"]["type"] == "interrupt"
    assert (question["message"], question["reason"]) == ("How much?", "question")
    assert approval["reason"] == "tool_approval"
    for interrupt in (question, approval):
        assert interrupt["id"].startswith("int-")
        assert interrupt["expiresAt"].endswith("Z")
        assert interrupt["responseSchema"]["type"] == "object"
        assert interrupt["toolCallId"]
    # The client's runs are parts of one of ours, each beginning where the one before ended.
    assert len({ours(turn["events"][0])["run_id"] for turn in (asks, calls, done)}) == 1
    assert max(seqs(asks)) < min(seqs(calls)) <= max(seqs(calls)) < min(seqs(done))
    assert kinds(done)[:2] == ["RUN_STARTED", "TOOL_CALL_RESULT"]
    assert ending(done)["outcome"] == {"type": "success"}
    assert said(done) == ["paid 7"]
    assert [line for line in server.tool_lines() if line.startswith(f"pay {who.name} ")] == [f"pay {who.name} 7"]
    # The same run again, as after a lost answer, tells the same and decides nothing anew.
    entry = [{"interruptId": approval["id"]} | APPROVED]
    (again,) = talk(server, who, "payer", {"runId": "last", "input": {"resume": entry}})
    assert ending(again)["result"] == "paid 7"
    other = [{"interruptId": approval["id"], "status": "resolved", "payload": {"approved": False}}]
    (refused,) = talk(server, who, "payer", {"input": {"resume": other}})
    assert (refused["error"]["status"], refused["events"]) == (409, [])
    assert "already_decided" in refused["error"]["message"]


DENYING = [
    {"status": "resolved", "payload": {"approved": "yes"}},
    {"status": "resolved", "payload": {"approved": True, "editedArgs": {"amount": 9000}}},
    {"status": "resolved", "payload": True},
    {"status": "resolved"},
    {"status": "cancelled"},
    {"status": "resolved", "payload": {"approved": False, "reason": "not today"}},
]


def test_whatever_is_not_an_approval_denies_the_call(server) -> None:
    who = login(server, server.person())
    turns = [({"say": "pay"}, {"resume": {"status": "resolved", "payload": "7"}}, {"resume": each}) for each in DENYING]
    told = talk(server, who, "boss", *(turn for three in turns for turn in three))
    for answer, done in zip(DENYING, told[2::3], strict=True):
        # The sub-agent was told as suspended, and goes on in the run that answers.
        assert kinds(done)[:3] == ["RUN_STARTED", "SUBAGENT_STARTED", "TOOL_CALL_RESULT"], answer
        assert done["error"] is None
        rejected = json.loads(done["events"][2]["content"])["error"]
        assert rejected["code"] == "rejected"
        assert ("not today" in rejected["message"]) == ("not today" in json.dumps(answer))
        assert "SUBAGENT_ERROR" in kinds(done)
        assert said(done)[-1].startswith("Not done")
    assert not [line for line in server.tool_lines() if line.startswith(f"pay {who.name} ")]


def test_a_run_outlives_its_request_and_is_cancelled_by_its_own_route(server) -> None:
    who = login(server, server.person())
    (cut,) = talk(server, who, "waiter", {"say": "wait", "cutAfter": {"type": "REASONING_END", "count": 1}})
    run_id = ours(cut["events"][0])["run_id"]

    async def scenario(client):
        before = (await client.get(f"/api/runs/{run_id}", who)).json["status"]
        return before, (await client.post(f"/api/runs/{run_id}/cancel", who)).json["status"]

    assert play(server, scenario) == ("running", "cancelled")
    attach = {"run": run_id, "lastEventId": max(seqs(cut))}
    (back,) = talk(server, who, "waiter", {"attach": attach})
    assert kinds(back) == ["RUN_STARTED", "MESSAGES_SNAPSHOT", "RUN_FINISHED"]
    assert ending(back)["outcome"] == {"type": "cancelled"}


@pytest.mark.parametrize("again", [False, True], ids=["by its own route", "by the same request"])
def test_who_comes_back_in_the_middle_of_an_answer_is_told_each_event_once_and_has_the_whole_text(
    server, again
) -> None:
    who = login(server, server.person())
    _, cut, back = talk(
        server,
        who,
        "assistant",
        {"say": "before [[chunks=1]]"},
        {
            "say": "long [[call=look chunks=40 delay=100]]",
            "runId": "mine",
            "cutAfter": {"type": "TEXT_MESSAGE_CONTENT", "count": 1},
        },
        {"attach": {"again": again}, "runId": "mine"},
    )
    assert "RUN_FINISHED" not in kinds(cut)
    assert "word0 " in said(cut)[-1]  # half of it is there, and is put right
    assert back["error"] is None
    assert kinds(back)[:2] == ["RUN_STARTED", "MESSAGES_SNAPSHOT"]
    whole = "".join(f"word{number} " for number in range(40))
    assert said(back) == ["word0 ", whole]
    assert said(back, "user") == ["before [[chunks=1]]", "long [[call=look chunks=40 delay=100]]"]
    assert ending(back)["result"] == whole
    last = max(seqs(cut))
    assert sorted({*seqs(back)}) == list(range(last + 1, max(seqs(back)) + 1))
    assert [part["role"] for part in back["messages"]].count("tool") == 1
    assert len([line for line in server.tool_lines() if line == f"look {who.name}"]) == 1


def test_the_same_run_id_starts_one_run_and_with_other_words_is_refused(server) -> None:
    who = login(server, server.person())
    first, same, other = talk(
        server,
        who,
        "assistant",
        {"say": "once [[chunks=2]]", "runId": "r"},
        {"runId": "r"},
        {"say": "something else", "runId": "r"},
    )
    assert ours(first["events"][0])["run_id"] == ours(same["events"][0])["run_id"]
    assert said(same) == said(first)
    assert (other["error"]["status"], other["events"]) == (409, [])
    assert "idempotency_conflict" in other["error"]["message"]


def test_nobody_else_comes_in_by_the_names_and_ids_of_a_user(server) -> None:
    victim, intruder = login(server, server.person()), login(server, server.person())
    (asks,) = talk(server, victim, "payer", {"say": "secret of the victim"}, thread="shared name")
    run_id, (interrupt,) = ours(asks["events"][0])["run_id"], asks["interrupts"]
    thread_id = ours(asks["events"][0])["thread_id"]
    for name in ("shared name", thread_id):
        # Somebody else's thread is a name like any other: the intruder's own, and new.
        (own,) = talk(server, intruder, "assistant", {"say": "hello [[chunks=1]]"}, thread=name)
        assert ours(own["events"][0])["thread_id"] != thread_id
        assert "secret" not in json.dumps(own["events"])
    entry = [{"interruptId": interrupt["id"], "status": "resolved", "payload": {"answer": "9000"}}]
    forged = [{"interruptId": interrupt["id"][:-4] + "0000", "status": "resolved", "payload": {"answer": "9000"}}]
    turns = (
        {"input": {"resume": entry}},
        {"input": {"resume": forged}},
        {"attach": {"run": run_id, "lastEventId": 1}},
        {"attach": {"run": f"{run_id[:-4]}0000", "lastEventId": 1}},
    )
    for somebody, status in ((intruder, 404), (None, 401)):
        refused = talk(server, somebody, "payer", *turns, thread="shared name")
        assert [(each["error"]["status"], each["events"]) for each in refused] == [(status, [])] * 4
        answers = [each["error"]["message"] for each in refused]
        assert answers[0].replace(interrupt["id"], "ID") == answers[1].replace(forged[0]["interruptId"], "ID")
        assert answers[2].replace(run_id, "ID") == answers[3].replace(run_id[:-4] + "0000", "ID")
    # Its owner's interrupt is open as before, but not in another thread of his.
    (elsewhere,) = talk(server, victim, "payer", {"input": {"resume": entry}}, thread="another")
    assert elsewhere["error"]["status"] == 404
    (done,) = talk(
        server, victim, "payer", {"input": {"resume": [entry[0] | {"status": "cancelled"}]}}, thread="shared name"
    )
    assert ending(done)["outcome"] == {"type": "cancelled"}


def test_refusals_have_their_status_and_nothing_is_begun(server) -> None:
    who = login(server, server.person())
    bad = {
        "messages": [
            {
                "id": "1",
                "role": "user",
                "content": [{"type": "image", "source": {"type": "url", "value": "https://example.org/a.png"}}],
            }
        ]
    }
    turns = [
        ({"agent": "nobody", "say": "x"}, 404),
        ({"agent": "guarded"}, 403),
        ({"input": {"messages": []}}, 422),
        ({"input": bad}, 422),
        ({"input": {"forwardedProps": {"netra": {"ifBusy": "shout"}}}}, 422),
        ({"attach": {"lastEventId": "abc", "again": True}}, 422),
    ]
    told = talk(server, who, "assistant", *(turn for turn, _ in turns))
    for (turn, status), refused in zip(turns, told, strict=True):
        assert (refused["error"]["status"], refused["events"]) == (status, []), turn

    async def scenario(client):
        for body in ("{}", "[]", "nonsense", '{"threadId": 1}'):
            answer = await client.post(
                "/api/agui/assistant", who, data=body, headers={"Content-Type": "application/json"}
            )
            assert (answer.status, answer.json["code"]) == (422, "invalid")
        answer = await client.post("/api/agui/assistant", who, data="{}", headers={"Content-Type": "text/plain"})
        assert answer.status == 422
        return (await client.get("/api/threads", who)).json["items"]

    assert play(server, scenario) == []


def test_files_come_with_a_message_and_what_has_no_effect_is_said(server) -> None:
    who = login(server, server.person())
    data = base64.b64encode(b"a,b\n1,2\n").decode()
    part = {"type": "document", "source": {"type": "data", "value": data, "mimeType": "text/csv"}}
    named = part | {"metadata": {"filename": "costs.csv"}}
    content = [{"type": "text", "text": "read these"}, named, part]
    sent = {
        "messages": [{"id": "1", "role": "user", "content": content}],
        "tools": [{"name": "alert", "description": "An alert", "parameters": {}}],
        "runId": "files",
    }
    turn = {"input": sent, "runId": "files"}
    for done in talk(server, who, "reader", turn, turn):  # the same once more keeps them once
        files = ending(done)["result"]["files"]
        assert sorted(file["name"] for file in files) == ["costs.csv", "document-2.csv"]
    notice = next(event for event in done["events"] if event["type"] == "CUSTOM")
    assert (notice["name"], notice["value"]["message"].split()[0]) == ("netra.notice", "tools")


def test_a_thread_that_waits_for_a_person_takes_no_message_unless_told_what_to_do(server) -> None:
    who = login(server, server.person())
    (asks,) = talk(server, who, "payer", {"say": "go"})
    (refused,) = talk(server, who, "payer", {"say": "another"})
    assert refused["error"]["status"] == 409
    props = {"forwardedProps": {"netra": {"ifBusy": "interrupt"}}}
    (done,) = talk(server, who, "assistant", {"say": "instead [[chunks=1]]", "input": props})
    assert ending(done)["outcome"] == {"type": "success"}

    async def scenario(client):
        return await ended(client, who, ours(asks["events"][0])["run_id"])

    assert play(server, scenario) == ENDINGS[2]


def test_an_agent_tells_what_it_can_and_only_whom_it_is_for(server) -> None:
    who = login(server, server.person())

    async def scenario(client):
        boss = (await client.get("/api/agui/boss", who)).json
        statuses = [(await client.get(f"/api/agui/{name}", who)).status for name in ("nobody", "guarded")]
        return boss, [*statuses, (await client.get("/api/agui/boss")).status]

    boss, statuses = play(server, scenario)
    assert boss["transport"]["resumable"] is True
    assert boss["multiAgent"]["supported"] is True
    assert boss["humanInTheLoop"]["approveWithEdits"] is False
    assert boss["identity"]["description"] == "Has others do it."
    assert statuses == [404, 403, 401]
