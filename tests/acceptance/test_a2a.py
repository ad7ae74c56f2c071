"""A2A by its own SDK's client, over both HTTP bindings: the golden path, questions, cuts, ends, and the wrong user."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from a2a.client import Client, ClientConfig, create_client
from a2a.client.errors import A2AClientError
from a2a.types import (
    CancelTaskRequest,
    GetExtendedAgentCardRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
    TaskState,
)
from a2a.utils.errors import (
    A2AError,
    ContentTypeNotSupportedError,
    InvalidParamsError,
    PushNotificationNotSupportedError,
    TaskNotCancelableError,
    TaskNotFoundError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value
from tests.support.bounded import passed, run
from tests.support.server import PASSWORD, Server

APP = Path(__file__).parents[1] / "support" / "protocols_app.py"
COMPLETED, CANCELED = TaskState.TASK_STATE_COMPLETED, TaskState.TASK_STATE_CANCELED
INPUT_REQUIRED, WORKING = TaskState.TASK_STATE_INPUT_REQUIRED, TaskState.TASK_STATE_WORKING
both = pytest.mark.parametrize("binding", ["JSONRPC", "HTTP+JSON"])


@pytest.fixture(scope="module")
def server(tmp_path_factory, wire):
    with Server(tmp_path_factory.mktemp("a2a"), app=APP, wire=wire, people=30, frames_burst=1000) as server:
        yield server
        failed = [json.loads(line) for line in server.log().splitlines() if "Traceback" in line]
        # Calls that were rejected fail their agent; nothing else has failed.
        assert {each["event"] for each in failed} <= {"agent failed"}


@asynccontextmanager
async def connected(
    server: Server, who: str | None, binding: str = "JSONRPC", *, streaming: bool = True
) -> AsyncGenerator[tuple[Client, httpx.AsyncClient]]:
    """The SDK's client of this user, or of nobody, made from the card."""
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as http:
        if who is not None:
            answer = await http.post("/api/auth/login", json={"username": who, "password": PASSWORD})
            http.cookies.clear()
            http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        config = ClientConfig(httpx_client=http, supported_protocol_bindings=[binding], streaming=streaming)
        yield await create_client(server.url, client_config=config), http


def message(*parts: str | dict[str, Any] | Part, agent: str | None = None, ident: str = "", **fields: Any) -> Message:
    made = Message(message_id=ident or f"m{id(parts)}-{len(_idents)}", role=Role.ROLE_USER, **fields)
    _idents.append(made.message_id)
    for part in parts:
        match part:
            case str():
                made.parts.append(Part(text=part))
            case dict():
                made.parts.append(Part(data=ParseDict(part, Value())))
            case _:
                made.parts.append(part)
    if agent is not None:
        made.metadata.update({"agent": agent})
    return made


_idents: list[str] = []


async def send(client: Client, sent: Message, **configuration: Any) -> list[StreamResponse]:
    request = SendMessageRequest(message=sent, configuration=SendMessageConfiguration(**configuration))
    return [each async for each in client.send_message(request)]


def task_id(told: list[StreamResponse]) -> str:
    return told[0].task.id


def state(told: list[StreamResponse]) -> int:
    last = told[-1]
    return last.task.status.state if last.HasField("task") else last.status_update.status.state


def texts(artifacts) -> list[str]:
    return ["".join(part.text for part in each.parts) for each in artifacts]


def put_together(told: list[StreamResponse]) -> dict[str, str]:
    """What a client makes of the artifacts, as the specification says: appended, or in the place of what was there."""
    found: dict[str, str] = {}
    for each in told:
        if each.HasField("task"):
            found |= {a.artifact_id: t for a, t in zip(each.task.artifacts, texts(each.task.artifacts), strict=True)}
        elif each.HasField("artifact_update"):
            (text,) = texts([each.artifact_update.artifact])
            ident = each.artifact_update.artifact.artifact_id
            found[ident] = found.get(ident, "") + text if each.artifact_update.append else text
    return found


def seqs(told: list[StreamResponse]) -> list[int]:
    found = [each.status_update.metadata["netra"] for each in told if each.HasField("status_update")]
    return [int(ours["seq"]) for ours in found if "event" in ours]


@both
def test_the_golden_path_streams_and_the_next_message_goes_on_in_its_context(server, wire, binding) -> None:
    async def main() -> None:
        async with connected(server, server.person(), binding) as (client, _):
            told = await send(client, message(f"one {binding} [[call=look chunks=6 think=1]]"))
            assert state(told) == COMPLETED
            first = int(told[0].task.metadata["netra"]["seq"]) + 1  # what the task has told before is in it
            assert seqs(told) == list(range(first, first + len(seqs(told))))
            whole = "".join(f"word{number} " for number in range(6))
            assert list(put_together(told).values()) == [whole]
            events = [
                each.status_update.metadata["netra"]["event"]["type"] for each in told if each.HasField("status_update")
            ]
            order = ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"]
            places = [events.index(kind) for kind in order if kind in events]
            assert places == sorted(places)
            assert events[-1] == "agent_completed"
            context = told[0].task.context_id
            again = await send(client, message(f"two {binding} [[chunks=1]]", context_id=context))
            assert again[0].task.context_id == context
            asked = [each for each in wire.requests() if f"two {binding}" in each["asked"]]
            assert len(asked[-1]["messages"]) > 3
            task = await client.get_task(GetTaskRequest(id=task_id(told)))
            assert (task.status.state, texts(task.artifacts)) == (COMPLETED, [whole])
            assert task.history[0].parts[0].text.startswith("one")
            listed = await client.list_tasks(ListTasksRequest(context_id=context, include_artifacts=True, page_size=1))
            assert (listed.total_size, [each.id for each in listed.tasks]) == (2, [task_id(again)])
            rest = await client.list_tasks(ListTasksRequest(context_id=context, page_token=listed.next_page_token))
            assert [(each.id, list(each.artifacts)) for each in rest.tasks] == [(task_id(told), [])]
            assert rest.next_page_token == ""
            failed = await client.list_tasks(ListTasksRequest(status=TaskState.TASK_STATE_FAILED))
            assert (failed.total_size, list(failed.tasks)) == (0, [])

    run(main(), limit=60)


@both
def test_a_message_that_does_not_stream_is_answered_at_the_end_and_the_same_message_is_the_same_task(
    server, binding
) -> None:
    async def main() -> None:
        async with connected(server, server.person(), binding, streaming=False) as (client, _):
            (first,) = await send(client, message("hello [[chunks=3]]", ident="same"))
            (again,) = await send(client, message("hello [[chunks=3]]", ident="same"))
            assert first.task.id == again.task.id
            assert texts(again.task.artifacts) == ["word0 word1 word2 "]
            (soon,) = await send(client, message("wait", agent="waiter"), return_immediately=True)
            assert soon.task.status.state in (TaskState.TASK_STATE_SUBMITTED, WORKING)
            stopped = await client.cancel_task(CancelTaskRequest(id=soon.task.id))
            assert stopped.status.state == CANCELED
            with pytest.raises(TaskNotCancelableError):
                await client.cancel_task(CancelTaskRequest(id=soon.task.id))
            with pytest.raises(InvalidParamsError, match="came before"):
                await send(client, message("other", ident="same"))

    run(main(), limit=60)


@both
def test_a_task_asks_and_goes_on_with_its_answers_and_the_call_is_made_once(server, binding) -> None:
    async def main() -> None:
        who = server.person()
        async with connected(server, who, binding) as (client, _):
            told = await send(client, message("go", agent="payer"))
            assert state(told) == INPUT_REQUIRED
            asked = told[-1].status_update.status.message
            assert asked.parts[0].text == "How much?"
            ident = task_id(told)
            assert (await client.get_task(GetTaskRequest(id=ident))).status.state == INPUT_REQUIRED
            told = await send(client, message("7", task_id=ident))
            assert state(told) == INPUT_REQUIRED
            about = MessageToDict(told[-1].status_update.status.message.parts[1].data)
            assert (about["tool"], about["arguments"]) == ("pay", {"amount": 7})
            for unclear in ("perhaps", {"approved": "yes"}, {"approved": True, "approval_id": "apr_0"}):
                with pytest.raises(InvalidParamsError):
                    await send(client, message(unclear, task_id=ident))
            assert not [line for line in server.tool_lines() if line.startswith(f"pay {who} ")]
            told = await send(client, message({"approved": True}, task_id=ident))
            assert state(told) == COMPLETED
            assert list(put_together(told).values()) == ["paid 7"]
            assert [line for line in server.tool_lines() if line.startswith(f"pay {who} ")] == [f"pay {who} 7"]
            with pytest.raises(UnsupportedOperationError, match="has ended"):
                await send(client, message("again", task_id=ident))
            with pytest.raises(UnsupportedOperationError, match="has ended"):
                [each async for each in client.subscribe(SubscribeToTaskRequest(id=ident))]
            # A word is enough, and no is no.
            told = await send(client, message("go", agent="payer"))
            await send(client, message("8", task_id=task_id(told)))
            told = await send(client, message("Reject", task_id=task_id(told)))
            assert state(told) == TaskState.TASK_STATE_FAILED
            assert f"pay {who} 8" not in server.tool_lines()

    run(main(), limit=60)


@both
def test_who_loses_the_stream_subscribes_and_has_the_whole_answer(server, binding) -> None:
    async def main() -> None:
        who = server.person()
        async with connected(server, who, binding) as (client, _):
            request = SendMessageRequest(message=message("long [[call=look chunks=40 delay=100]]"))
            told: list[StreamResponse] = []
            async for each in client.send_message(request):
                told.append(each)
                if each.HasField("artifact_update"):
                    break  # closes the connection
        async with connected(server, who, binding) as (client, _):
            later = [each async for each in client.subscribe(SubscribeToTaskRequest(id=task_id(told)))]
            whole = "".join(f"word{number} " for number in range(40))
            assert state(later) == COMPLETED
            assert list(put_together(later).values()) == [whole]
            start = int(later[0].task.metadata["netra"]["seq"])
            assert seqs(later) == list(range(start + 1, start + 1 + len(seqs(later))))

    run(main(), limit=60)


@both
def test_a_run_outlives_its_request_and_is_cancelled_as_a_task(server, binding) -> None:
    async def main() -> None:
        async with connected(server, server.person(), binding) as (client, _):
            async for each in client.send_message(SendMessageRequest(message=message("wait", agent="waiter"))):
                if each.HasField("task"):
                    ident = each.task.id
                    break
            assert (await client.get_task(GetTaskRequest(id=ident))).status.state != CANCELED
            following = asyncio.ensure_future(anext(client.subscribe(SubscribeToTaskRequest(id=ident))))
            assert (await following).task.id == ident
            assert (await client.cancel_task(CancelTaskRequest(id=ident))).status.state == CANCELED

    run(main(), limit=60)


@both
def test_somebody_elses_task_and_context_are_as_those_that_do_not_exist(server, binding) -> None:
    async def main() -> None:
        victim, intruder = server.person(), server.person()
        async with connected(server, victim, binding) as (mine, _), connected(server, intruder, binding) as (his, _):
            told = await send(mine, message("secret", agent="payer"))
            ident, context = task_id(told), told[0].task.context_id
            missing, nowhere = ident[:-4] + "0000", context[:-4] + "0000"
            calls = (
                lambda task, _: his.get_task(GetTaskRequest(id=task)),
                lambda task, _: his.cancel_task(CancelTaskRequest(id=task)),
                lambda task, _: anext(his.subscribe(SubscribeToTaskRequest(id=task))),
                lambda task, _: send(his, message("9000", task_id=task)),
                lambda task, _: send(his, message({"approved": True}, task_id=task)),
                lambda task, where: send(his, message("9000", task_id=task, context_id=where)),
                lambda _, where: send(his, message("let me in", context_id=where)),
            )
            for call in calls:
                refused = []
                for task, where in ((ident, context), (missing, nowhere)):
                    with pytest.raises((TaskNotFoundError, InvalidParamsError)) as raised:
                        await call(task, where)
                    refused.append((raised.type, str(raised.value).replace(where, "ID").replace(task, "ID")))
                assert refused[0] == refused[1]
            listed = [await his.list_tasks(ListTasksRequest(context_id=where)) for where in (context, nowhere)]
            assert [each.total_size for each in listed] == [0, 0]
            assert (await his.list_tasks(ListTasksRequest())).total_size == 0
            assert (await mine.get_task(GetTaskRequest(id=ident))).status.state == INPUT_REQUIRED
        async with connected(server, None, binding) as (nobody, http):
            for call in (
                nobody.get_task(GetTaskRequest(id=ident)),
                nobody.cancel_task(CancelTaskRequest(id=ident)),
                nobody.list_tasks(ListTasksRequest()),
                send(nobody, message("hello")),
                nobody.get_extended_agent_card(GetExtendedAgentCardRequest()),
            ):
                with pytest.raises((A2AClientError, A2AError)) as raised:
                    await call
                assert "401" in str(raised.value)
            assert (await http.get("/.well-known/agent-card.json")).status_code == 200

    run(main(), limit=60)


@both
def test_what_cannot_be_done_is_refused_with_its_own_error_and_begins_nothing(server, binding) -> None:
    async def main() -> None:
        async with connected(server, server.person(), binding) as (client, _):
            config = TaskPushNotificationConfig(task_id="x", url="https://example.org/hook")
            with pytest.raises(PushNotificationNotSupportedError):
                await client.create_task_push_notification_config(config)
            refusals = (
                (message("x"), {"task_push_notification_config": config}, PushNotificationNotSupportedError),
                (message(Part(url="https://example.org/a.png")), {}, ContentTypeNotSupportedError),
                (message("x", agent="nobody"), {}, InvalidParamsError),
                (message("x", agent="guarded"), {}, UnsupportedOperationError),
                (message("  "), {}, InvalidParamsError),
                (message(), {}, InvalidParamsError),
            )
            for sent, configuration, error in refusals:
                with pytest.raises(error):
                    await send(client, sent, **configuration)
            with pytest.raises(InvalidParamsError):
                await client.list_tasks(ListTasksRequest(page_token="forged"))
            with pytest.raises(InvalidParamsError):
                await client.list_tasks(ListTasksRequest(page_size=1000))
            assert (await client.list_tasks(ListTasksRequest())).total_size == 0
            told = await send(client, message("read", Part(raw=b"a,b\n1,2\n", filename="a.csv"), agent="reader"))
            output = MessageToDict(told[-2].artifact_update.artifact.parts[1].data)
            assert output == {"task": "read", "files": [{"name": "a.csv", "size": 8.0}]}

    run(main(), limit=60)


def test_the_card_has_no_secrets_and_the_extended_one_what_this_user_may_run(server) -> None:
    async def main() -> None:
        async with connected(server, server.person()) as (client, http):
            public = (await http.get("/.well-known/agent-card.json", headers={"Authorization": ""})).json()
            skills = {each["id"] for each in public["skills"]}
            assert skills == {"assistant", "payer", "boss", "waiter", "reader"}
            assert {each["protocolBinding"] for each in public["supportedInterfaces"]} == {"JSONRPC", "HTTP+JSON"}
            assert all(each["url"] == f"{server.url}/api/a2a" for each in public["supportedInterfaces"])
            assert public["capabilities"] == {
                "streaming": True, "pushNotifications": False, "extendedAgentCard": True,
            }  # fmt: skip
            extended = await client.get_extended_agent_card(GetExtendedAgentCardRequest())
            assert {each.id for each in extended.skills} == skills

    run(main())


def test_versions_and_statuses_are_those_of_the_standard(server) -> None:
    async def main() -> None:
        async with connected(server, server.person()) as (_, http):
            rpc = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "run_0"}}
            codes = []
            for version in ("1.0", "0.3", "2.0", ""):
                answer = await http.post("/api/a2a", json=rpc, headers={"A2A-Version": version})
                assert answer.status_code == 200
                codes.append(answer.json()["error"]["code"])
            assert codes == [-32001, -32009, -32009, -32009]
            headers = {"A2A-Version": "1.0"}
            unknown = await http.post("/api/a2a", json=rpc | {"method": "Nothing"}, headers=headers)
            assert unknown.json()["error"]["code"] == -32601
            assert (await http.get("/api/a2a/tasks/run_0", headers=headers)).status_code == 404
            forbidden = await http.post(
                "/api/a2a/message:send",
                content=json.dumps({"message": MessageToDict(message("x", agent="guarded"))}),
                headers=headers | {"Content-Type": "application/json"},
            )
            assert forbidden.status_code == 403
            # A page of another site cannot use a cookie that its visitor has.
            elsewhere = await http.post("/api/a2a", json=rpc, headers=headers | {"Origin": "https://evil.example"})
            assert elsewhere.status_code == 403

    run(main())


def test_a_server_that_stops_answers_with_the_task_as_it_is_and_the_next_one_goes_on_with_it(tmp_path, wire) -> None:
    with Server(tmp_path, app=APP, wire=wire, people=1) as server:

        async def main() -> str:
            who = server.person()
            async with connected(server, who, streaming=False) as (client, _), connected(server, who) as (other, _):
                # More than a user's requests that are worked on at once: those that wait for a run hold up no other.
                sending = [asyncio.ensure_future(send(client, message("wait", agent="waiter"))) for _ in range(6)]
                while (await other.list_tasks(ListTasksRequest())).total_size < len(sending):
                    await passed(0.05)
                while (await other.list_tasks(ListTasksRequest(status=WORKING))).total_size < 3:
                    await passed(0.05)
                stopping = asyncio.ensure_future(asyncio.to_thread(server.stop))
                told = [(await each)[0].task for each in sending]
                assert await stopping == 0
                assert {each.status.state for each in told} <= {WORKING, TaskState.TASK_STATE_SUBMITTED}
                return next(each.id for each in told if each.status.state == WORKING)

        ident = run(main(), limit=60)
        server.start()

        async def after() -> None:
            async with connected(server, "person000") as (client, _):
                assert (await client.cancel_task(CancelTaskRequest(id=ident))).status.state == CANCELED

        run(after(), limit=60)
