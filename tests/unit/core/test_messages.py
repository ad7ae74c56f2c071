"""What people and models say: usage adds up, and a history has no call without its answer."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_apex.core.messages import (
    NO_USAGE,
    AssistantMessage,
    Attachment,
    Image,
    ModelMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    answered,
    as_said,
    clean,
    told_with,
)


def test_usage_adds_up_and_a_cost_that_is_not_known_is_not_zero() -> None:
    assert Usage(1, 2, 3, 0.5) + Usage(10, 20, 30, 0.25) == Usage(11, 22, 33, 0.75)
    assert Usage(1, 2, 3) + Usage(1, 2, 3) == Usage(2, 4, 6, None)
    assert Usage(cost_usd=0.5) + NO_USAGE == Usage(cost_usd=0.5)
    assert NO_USAGE + Usage(cost_usd=0.0) == Usage(cost_usd=0.0)


def test_messages_come_back_as_they_went_told_apart_by_role() -> None:
    said: list[ModelMessage] = [
        SystemMessage("s"), UserMessage("u"), AssistantMessage("a", (ToolCall("1", "t", "{}"),)), ToolMessage("1", "r"),
    ]  # fmt: skip
    text = msgspec.json.encode(said)
    assert [each["role"] for each in msgspec.json.decode(text)] == ["system", "user", "assistant", "tool"]
    assert msgspec.json.decode(text, type=list[ModelMessage]) == said
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'[{"role":"developer","content":"x"}]', type=list[ModelMessage])


A, B = ToolCall("a", "t", "{}"), ToolCall("b", "t", "{}")


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([], []),
        ([UserMessage("u"), AssistantMessage("x")], [UserMessage("u"), AssistantMessage("x")]),
        ([AssistantMessage("", (A,))], []),
        ([AssistantMessage("let me see", (A,))], [AssistantMessage("let me see")]),
        ([AssistantMessage("", (A, B)), ToolMessage("b", "r")], [AssistantMessage("", (B,)), ToolMessage("b", "r")]),
        ([AssistantMessage("", (A,)), ToolMessage("a", "r")], [AssistantMessage("", (A,)), ToolMessage("a", "r")]),
        ([AssistantMessage("")], [AssistantMessage("")]),
    ],
)
def test_a_call_without_an_answer_is_left_out_of_a_history(said: list[ModelMessage], kept: list[ModelMessage]) -> None:
    assert answered(said) == kept


IDS = st.sampled_from(["a", "b", "c"])
SAID = st.one_of(
    st.builds(UserMessage, st.text()),
    st.builds(AssistantMessage, st.text(), st.lists(IDS.map(lambda i: ToolCall(i, "t", "{}")), max_size=3).map(tuple)),
    st.builds(ToolMessage, IDS, st.text()),
)


@given(st.lists(SAID, max_size=12))
def test_no_history_has_a_call_that_nothing_answers(said: list[ModelMessage]) -> None:
    kept = answered(said)
    have = {message.call_id for message in kept if isinstance(message, ToolMessage)}
    asked = [call.id for message in kept if isinstance(message, AssistantMessage) for call in message.tool_calls]
    assert set(asked) <= have
    assert [m for m in kept if not isinstance(m, AssistantMessage)] == [
        m for m in said if not isinstance(m, AssistantMessage)
    ]
    assert answered(kept) == kept


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", ""),
        ("plain\0", "plain\0"),
        ("é😀\n", "é😀\n"),
        ("half \ud800 é", "half ? é"),
        ("\udfff", "?"),
        # Two halves in a row are no character: text that Python decoded has each character whole.
        ("\ud83d\ude00", "??"),
    ],
)
def test_halves_of_surrogate_pairs_become_question_marks_and_nothing_else_changes(text: str, left: str) -> None:
    assert clean(text) == left


@given(st.text(st.characters()), st.text(st.characters(categories=["Cs"])))
def test_any_text_can_be_sent_once_it_is_clean(text: str, halves: str) -> None:
    cleaned = clean(text + halves + text)
    assert cleaned.encode().decode() == cleaned == clean(cleaned)
    assert len(cleaned) == len(text + halves + text)


def test_a_message_without_pictures_is_kept_as_before_there_were_any() -> None:
    assert msgspec.json.encode(UserMessage("hi")) == b'{"role":"user","content":"hi"}'


def test_a_message_is_told_with_the_files_that_came_and_refers_to_the_pictures_among_them() -> None:
    assert told_with("hi", ()) == UserMessage("hi")
    files = (Attachment("fil_1", "a.csv", "text/csv", 7), Attachment("fil_2", "b.png", "image/png", 9))
    said = told_with("hi", files)
    assert said.content == (
        "hi\n\nFiles that came with this message:\n"
        "- a.csv (text/csv, 7 bytes), file_id: fil_1\n"
        "- b.png (image/png, 9 bytes), file_id: fil_2"
    )
    assert said.images == (Image("image/png", file_id="fil_2"),)
    assert msgspec.json.decode(msgspec.json.encode(said), type=ModelMessage) == said


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("Hello", "Hello"),
        ({"text": "Two of three are done.", "percent": 67}, "Two of three are done."),
        ({"text": ""}, '{"text": ""}'),
        ({"text": 1}, '{"text": 1}'),
        ([1, "a"], '[1, "a"]'),
    ],
)
def test_an_output_is_said_as_its_text_where_it_has_one(output: object, said: str) -> None:
    assert as_said(output) == said
