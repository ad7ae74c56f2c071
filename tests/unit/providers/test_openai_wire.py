"""What an OpenAI stream means, however the network cuts it."""

import itertools
import json
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.heard import Heard

from netra_apex.core.messages import (
    AssistantMessage,
    Image,
    ModelRequest,
    Reply,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from netra_apex.providers.openai_request import encode_request
from netra_apex.providers.openai_wire import MAX_LINE, Answer, Garbled, Reported, error_text


def event(delta: dict[str, Any] | None = None, *, finish: str | None = None, **more: Any) -> bytes:
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return b"data: " + json.dumps({"id": "x", "choices": choices, **more}, ensure_ascii=False).encode() + b"\n\n"


def call(index: int | None, **fields: Any) -> bytes:
    piece = {key: value for key, value in {"index": index, **fields}.items() if value is not None}
    return event({"tool_calls": [piece]})


DONE = b"data: [DONE]\n\n"


def read(*reads: bytes) -> tuple[Answer, Heard]:
    heard = Heard()
    answer = Answer(heard)
    for data in reads:
        answer.feed(data)
    answer.end()
    return answer, heard


RICH = b"".join(
    (
        b": a comment\r\n\r\nevent: message\nid: 7\nretry: 10\n",
        event({"role": "assistant", "content": None}),
        event({"reasoning_content": "let me see — "}),
        event({"reasoning": "ja"}),
        event({"content": "Größe: 🦀 "}).replace(b"\n", b"\r\n"),
        event({"content": ""}),
        event({}),
        event({"content": [{"type": "text", "text": "in "}, {"type": "text", "text": "parts "}]}),
        b'data:{"choices":[{"delta":{"content":"no blank [DONE] "}}],"unknown":{"a":[1]}}\n\n',
        call(0, id="a", type="function", function={"name": "lookup", "arguments": ""}),
        call(1, id="b", function={"name": "book", "arguments": '{"day"'}),
        call(0, function={"arguments": '{"query": "ö'}),
        call(1, function={"arguments": ": 1}"}),
        call(0, function={"arguments": '"}'}),
        event({}, finish="tool_calls"),
        b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7,"cost":0.25}}\n\n',
        DONE,
        b"data: what comes after the end is nobody's\n\n",
    )
)


def outcome(reads: list[bytes]) -> tuple[Reply, str, str, bool]:
    answer, heard = read(*reads)
    thought = "".join(piece for kind, piece in heard.log if kind == "thinking")
    return answer.reply(), heard.shown(), thought, answer.finished


EXPECTED = outcome([RICH])


def test_every_part_of_a_stream_is_understood() -> None:
    reply, shown, thought, finished = outcome([RICH])
    assert reply.text == shown == "Größe: 🦀 in parts no blank [DONE] "
    assert reply.thinking == thought == "let me see — ja"
    assert reply.tool_calls == (ToolCall("a", "lookup", '{"query": "ö"}'), ToolCall("b", "book", '{"day": 1}'))
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.requests) == (5, 7, 1)
    assert reply.usage.cost_usd == 0.25
    assert finished


@given(st.lists(st.integers(0, len(RICH)), max_size=40))
def test_the_answer_is_the_same_however_its_bytes_are_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(RICH)]
    assert outcome([RICH[a:b] for a, b in itertools.pairwise(edges)]) == EXPECTED


def test_the_answer_is_the_same_byte_by_byte() -> None:
    assert outcome([RICH[i : i + 1] for i in range(len(RICH))]) == outcome([RICH])


def test_text_that_arrives_in_one_read_is_told_in_one_piece() -> None:
    _, heard = read(event({"content": "a"}) + event({"content": "b"}), event({"content": "c"}) + DONE)
    assert heard.log == [("text", "ab"), ("text", "c")]


def test_text_and_thought_keep_their_order_within_one_read() -> None:
    _, heard = read(event({"content": "a"}) + event({"reasoning": "hm"}) + event({"content": "b"}) + DONE)
    assert heard.log == [("text", "a"), ("thinking", "hm"), ("text", "b")]


def test_an_answer_without_finish_or_done_is_not_whole() -> None:
    assert not read(event({"content": "a"}))[0].finished


@pytest.mark.parametrize("last", [b"data: [DONE]", event({}, finish="stop").rstrip()])
def test_a_last_line_without_its_end_counts(last: bytes) -> None:
    assert read(event({"content": "a"}), last)[0].finished


def test_a_last_line_that_was_cut_is_a_lost_connection() -> None:
    assert not read(event({"content": "a"}), event({"content": "b"})[:20])[0].finished
    assert not read(b'data: {"choi')[0].finished


@pytest.mark.parametrize("cut", range(1, 5))
def test_a_first_line_that_was_cut_is_a_lost_connection(cut: int) -> None:
    assert not read(b"data:"[:cut])[0].finished


@pytest.mark.parametrize("body", [b"<html>sorry</html>", b"<html>\n<body>\nsorry\n", b'{"detail": "sorry"}\n'])
def test_an_answer_in_another_format_is_quoted(body: bytes) -> None:
    with pytest.raises(Garbled, match=r"html|sorry"):
        read(body)


@pytest.mark.parametrize("line", [b"data: <html>\n", b"data: [1, 2]\n", b'data: {"choices": 7}\n', b"data: \xff\n"])
def test_data_that_is_no_chunk_is_refused(line: bytes) -> None:
    with pytest.raises(Garbled):
        read(line)


def test_an_endless_line_is_refused_before_it_fills_memory() -> None:
    answer = Answer(Heard())
    for _ in range(MAX_LINE // 65_536):
        answer.feed(b"x" * 65_536)
    with pytest.raises(Garbled, match="4 MiB"):
        answer.feed(b"x")


def test_an_error_in_the_stream_is_reported_after_what_came_before_it() -> None:
    heard = Heard()
    with pytest.raises(Reported) as caught:
        Answer(heard).feed(event({"content": "a"}) + b'data: {"error": {"message": "too busy"}}\n\n')
    assert error_text(caught.value.error) == "too busy"
    assert heard.log == [("text", "a")]


def test_calls_that_all_have_index_0_or_none_are_told_apart_by_their_ids() -> None:
    for index in (0, None):
        answer, _ = read(
            call(index, id="a", function={"name": "f", "arguments": "{}"}),
            call(index, id="b", function={"name": "g", "arguments": '{"x":'}),
            call(index, function={"arguments": " 1}"}),
            DONE,
        )
        assert answer.reply().tool_calls == (ToolCall("a", "f", "{}"), ToolCall("b", "g", '{"x": 1}'))


def test_calls_without_an_id_are_given_different_ones() -> None:
    answer, _ = read(call(0, function={"name": "f"}), call(1, function={"name": "f", "arguments": {"a": 1}}), DONE)
    first, second = answer.reply().tool_calls
    assert first.id
    assert second.id
    assert first.id != second.id
    assert (first.arguments, second.arguments) == ("{}", '{"a":1}')


def test_a_refusal_is_text() -> None:
    answer, heard = read(event({"refusal": "I will "}), event({"refusal": "not."}), event({}, finish="stop"))
    assert answer.reply().text == answer.refusal == heard.shown() == "I will not."


def test_a_whole_json_answer_counts_too() -> None:
    heard = Heard()
    answer = Answer(heard)
    answer.whole(b'{"choices":[{"message":{"content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}')
    assert answer.reply().text == heard.shown() == "hi"
    with pytest.raises(Garbled):
        Answer(heard).whole(b'{"ok": true}')
    with pytest.raises(Reported):
        Answer(heard).whole(b'{"error": "no"}')


def test_a_request_says_everything_in_the_wire_format() -> None:
    schema = MappingProxyType({"type": "object", "properties": MappingProxyType({"q": {"type": "string"}})})
    request = ModelRequest(
        messages=(
            SystemMessage("be brief"),
            UserMessage("hi"),
            AssistantMessage("", (ToolCall("1", "lookup", '{"q": "x"}'),)),
            ToolMessage("1", "found"),
            AssistantMessage("there"),
        ),
        tools=(ToolSpec(name="lookup", description="find", parameters=schema),),
        output_schema={"type": "object"},
    )
    body = json.loads(encode_request("gpt", request))
    assert body["model"] == "gpt"
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert [message["role"] for message in body["messages"]] == ["system", "user", "assistant", "tool", "assistant"]
    assert body["messages"][2]["content"] is None
    assert body["messages"][2]["tool_calls"][0]["function"] == {"name": "lookup", "arguments": '{"q": "x"}'}
    assert body["messages"][3] == {"role": "tool", "tool_call_id": "1", "content": "found"}
    assert body["tools"][0]["function"]["parameters"]["properties"] == {"q": {"type": "string"}}
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}


def test_a_request_without_tools_or_schema_names_neither() -> None:
    assert not {"tools", "response_format"} & json.loads(encode_request("m", ModelRequest(messages=()))).keys()


@pytest.mark.parametrize("arguments", ['{"q": ', "[1]", "", "7", "null", '{"q": 1} x'])
def test_arguments_that_are_no_json_object_are_echoed_as_an_empty_one(arguments: str) -> None:
    request = ModelRequest(messages=(AssistantMessage("", (ToolCall("1", "f", arguments),)),))
    body = json.loads(encode_request("m", request))
    assert body["messages"][0]["tool_calls"][0]["function"]["arguments"] == "{}"


@pytest.mark.parametrize(
    ("error", "text"),
    [("no", "no"), ({"message": "no"}, "no"), ({"error": {"message": "no"}}, "no"), ({"code": 7}, '{"code":7}')],
)
def test_an_error_gives_its_sentence_in_whatever_form_it_has(error: object, text: str) -> None:
    assert error_text(error) == text


DEEP = "[" * 100_000


def test_what_is_nested_without_end_is_no_json_and_poisons_no_history() -> None:
    with pytest.raises(Garbled):
        Answer(Heard()).feed(b'data: {"choices":' + DEEP.encode() + b"\n")
    request = ModelRequest(messages=(AssistantMessage("", (ToolCall("c", "t", '{"n":' + DEEP + "}"),)),))
    assert b'"arguments":"{}"' in encode_request("m", request)
    assert error_text({"message": "x"}) == "x"


def test_a_picture_is_sent_beside_its_message_by_a_data_address() -> None:
    request = ModelRequest(messages=(UserMessage("look", (Image("image/png", b"\x89PNG"),)), UserMessage("hi")))
    seen, plain = json.loads(encode_request("m", request))["messages"]
    assert seen["content"] == [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
    ]
    assert plain == {"role": "user", "content": "hi"}
