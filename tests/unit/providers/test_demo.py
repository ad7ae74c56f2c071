"""The offline demo model: it picks tools, fills their arguments, and says what it is."""

import asyncio
import json
from enum import Enum
from typing import Annotated, Any, Literal

import pydantic
import pytest
from tests.support.heard import Heard

from netra_apex.core.messages import (
    AssistantMessage,
    Attachment,
    ModelMessage,
    ModelRequest,
    Reply,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
    told_with,
)
from netra_apex.demo import Assistant
from netra_apex.providers.demo import BLIND, NOTE, SHORT_NOTE, DemoModel
from netra_apex.providers.demo_arguments import arguments_for, example
from netra_apex.tools import list_files, read_file

TOOLS = tuple(tool.spec for tool in Assistant.tools)


def complete(*messages: ModelMessage, heard: Heard | None = None, **more: Any) -> Reply:
    return asyncio.run(DemoModel(pace=0).complete(ModelRequest(messages=messages, **more), heard or Heard()))


@pytest.mark.parametrize(
    ("said", "tool", "arguments"),
    [
        ("What time is it?", "current_time", {}),
        ("what time is it in Asia/Tokyo", "current_time", {"timezone": "Asia/Tokyo"}),
        ("which day is today?", "current_time", {}),
        ("What is 17*23?", "calculate", {"expression": "17*23"}),
        ("how much is (2 + 3) \u00d7 4, please", "calculate", {"expression": "(2 + 3) * 4"}),
        ("How do I add a tool?", "search_handbook", {"query": "How do I add a tool?"}),
        ("How do I write an agent?", "search_handbook", {"query": "How do I write an agent?"}),
        ("Hello!", "search_handbook", {"query": "Hello!"}),
        ("Erzähl mir was", "search_handbook", {"query": "Erzähl mir was"}),
        ("?", "search_handbook", {"query": "?"}),
    ],
)
def test_each_message_calls_the_fitting_tool(said: str, tool: str, arguments: dict[str, Any]) -> None:
    reply = complete(SystemMessage("x"), UserMessage(said), tools=TOOLS)
    (call,) = reply.tool_calls
    assert (call.name, json.loads(call.arguments), reply.text) == (tool, arguments, "")


def test_after_the_result_it_answers_with_it_and_says_once_what_it_is() -> None:
    heard = Heard()
    call = ToolCall("1", "current_time", "{}")
    reply = complete(
        UserMessage("time?"), AssistantMessage("", (call,)), ToolMessage("1", '"12:30"'), tools=TOOLS, heard=heard
    )
    assert reply.tool_calls == ()
    assert "12:30" in reply.text
    assert '"12:30"' not in reply.text
    assert reply.text.count("offline demo model") == 1
    assert "NETRA_MODEL=openai:NAME" in reply.text
    assert "OPENAI_API_KEY" in reply.text
    assert heard.shown() == reply.text
    assert len(heard.log) == len(reply.text.split()) == reply.usage.output_tokens


def test_a_new_message_calls_a_tool_again_and_the_note_becomes_short() -> None:
    history = (UserMessage("hi"), AssistantMessage(f"hello {NOTE}"), UserMessage("time?"))
    call = complete(*history, tools=TOOLS).tool_calls[0]
    reply = complete(*history, AssistantMessage("", (call,)), ToolMessage(call.id, "12:30"), tools=TOOLS)
    assert SHORT_NOTE in reply.text
    assert NOTE not in reply.text


def test_without_tools_it_echoes_what_it_understood() -> None:
    assert "“tell me a story”" in complete(UserMessage("tell me a story")).text
    assert complete().text


def test_the_same_request_gets_the_same_answer() -> None:
    assert complete(UserMessage("hi")) == complete(UserMessage("hi"))


class Colour(Enum):
    RED = "red"


class Inner(pydantic.BaseModel):
    at: pydantic.AwareDatetime
    many: Annotated[list[int], pydantic.Field(min_length=2)]


class Outer(pydantic.BaseModel):
    name: Annotated[str, pydantic.Field(min_length=9, max_length=12)]
    kind: Literal["a", "b"]
    colour: Colour
    count: Annotated[int, pydantic.Field(gt=5)]
    share: Annotated[float, pydantic.Field(le=0.5)]
    inner: Inner
    both: Inner | str
    maybe: int | None
    flag: bool
    table: dict[str, int]
    left_out: str = ""


def test_structured_output_satisfies_its_schema() -> None:
    text = complete(UserMessage("hi"), output_schema=Outer.model_json_schema()).text
    assert Outer.model_validate_json(text).flag is True


def test_arguments_satisfy_the_schema_and_use_the_message() -> None:
    arguments = arguments_for(Outer.model_json_schema(), "take 7 of these")
    assert Outer.model_validate(arguments).count == 7
    assert arguments["name"] == "take 7 of t"[:11] + "h"
    assert "left_out" not in arguments


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {
        "$ref": "#/$defs/Node",
        "$defs": {"Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}, "required": ["next"]}},
    }
    assert json.dumps(example(schema))


def test_one_tool_alone_is_always_called() -> None:
    only = ToolSpec(name="delegate_writer", description="Write.", parameters={"type": "object", "properties": {}})
    assert complete(UserMessage("zzz"), tools=(only,)).tool_calls[0].name == "delegate_writer"


def test_the_tools_that_the_instructions_say_to_call_are_called_in_that_order() -> None:
    tools = tuple(
        ToolSpec(name=name, description="Adds.", parameters={"type": "object", "properties": {}})
        for name in ("add", "take_away", "share_out")
    )
    told = SystemMessage("You count.\nCall `share_out`, `nobody` and `add`, `add`. Do not mind `take_away`.")
    called = complete(told, UserMessage("take away"), tools=tools).tool_calls
    assert [call.name for call in called] == ["share_out", "add"]
    assert len({call.id for call in called}) == 2
    aside = SystemMessage("You may call `add`. Use `share_out`.")
    assert [call.name for call in complete(aside, UserMessage("take away"), tools=tools).tool_calls] == ["take_away"]


def test_it_streams_at_a_pace_that_a_person_sees() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        model = DemoModel(pace=0.002)
        started = loop.time()
        reply = await model.complete(ModelRequest(messages=(UserMessage("hi"),)), Heard())
        assert loop.time() - started >= 0.0015 * len(reply.text.split())
        assert (model.name, await model.check()) == ("demo:offline", None)
        await model.aclose()

    asyncio.run(main())


def test_of_files_it_reads_those_that_are_named_and_says_that_it_sees_no_pictures() -> None:
    files = (Attachment("fil_7", "a.csv", "text/csv", 7), Attachment("fil_8", "b.png", "image/png", 7))
    said = told_with("please read this file", files)
    (call,) = complete(said, tools=(list_files.spec, read_file.spec)).tool_calls
    assert (call.name, json.loads(call.arguments)) == ("read_file", {"file_id": "fil_7"})
    answer = complete(said).text
    assert answer.startswith(BLIND)
    assert "“please read this file”" in answer
    assert BLIND not in complete(told_with("hi", files[:1])).text
