"""The socket's protocol as values: a frame is understood whole, or refused with a sentence and its id."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_apex.core.conversations import Post
from netra_apex.errors import Busy, Invalid, NotFound, Refused, UnknownType
from netra_apex.stream.protocol import (
    MAX_ID,
    TYPES,
    Answer,
    Authenticate,
    Cancel,
    Close,
    Decide,
    Ping,
    Subscribe,
    Unsubscribe,
    UserMessage,
    id_of,
    read_frame,
    write,
    write_refusal,
)


def text(**frame: Any) -> str:
    return json.dumps(frame)


@pytest.mark.parametrize(
    ("frame", "read"),
    [
        ({"type": "authenticate", "token": "t"}, Authenticate(token="t")),
        ({"type": "user_message", "content": "hi"}, UserMessage(content="hi")),
        ({"type": "subscribe", "run_id": "r"}, Subscribe(run_id="r")),
        ({"type": "subscribe", "run_id": "r", "after": 3, "id": 7}, Subscribe(run_id="r", after=3, id=7)),
        ({"type": "subscribe", "thread_id": "t", "after": {"r": 3}}, Subscribe(thread_id="t", after={"r": 3})),
        ({"type": "subscribe", "thread_id": "t"}, Subscribe(thread_id="t")),
        ({"type": "unsubscribe", "run_id": "r"}, Unsubscribe(run_id="r")),
        ({"type": "unsubscribe", "thread_id": "t", "id": None}, Unsubscribe(thread_id="t")),
        ({"type": "cancel", "run_id": "r", "id": "x"}, Cancel(run_id="r", id="x")),
        (
            {"type": "decide", "approval_id": "a", "decision": "reject", "note": "no", "id": 1},
            Decide(approval_id="a", decision="reject", note="no", id=1),
        ),
        ({"type": "answer", "question_id": "q", "content": "May"}, Answer(question_id="q", content="May")),
        ({"type": "decide", "approval_id": "a", "decision": "approve"}, Decide(approval_id="a", decision="approve")),
        ({"type": "ping"}, Ping()),
    ],
)
def test_a_frame_of_the_contract_is_read(frame: dict[str, Any], read: object) -> None:
    assert read_frame(json.dumps(frame)) == read


def test_every_type_of_the_contract_is_read_by_a_test() -> None:
    assert {"authenticate", "user_message", "subscribe", "unsubscribe", "cancel", "decide", "answer", "ping"} == TYPES


def test_a_message_is_a_post_with_all_its_options() -> None:
    options = {"thread_id": "t", "agent": "a", "replace": "m", "if_busy": "reject", "idempotency_key": "k"}
    frame = read_frame(text(type="user_message", content="hi", **options))
    assert isinstance(frame, UserMessage)
    assert frame.post == Post(content="hi", **options)  # type: ignore[arg-type]


def test_a_cursor_left_out_is_the_beginning() -> None:
    one, many = read_frame(text(type="subscribe", run_id="r")), read_frame(text(type="subscribe", thread_id="t"))
    assert isinstance(one, Subscribe)
    assert isinstance(many, Subscribe)
    assert (one.after_run, one.after_runs, many.after_run, many.after_runs) == (0, {}, 0, {})
    assert Subscribe(run_id="r", after=3).after_run == 3
    assert Subscribe(thread_id="t", after={"r": 3}).after_runs == {"r": 3}


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("nonsense", "no JSON"),
        ("[" * 100_000, "nested too deep"),
        ("[]", "JSON object"),
        ("1", "JSON object"),
        ("null", "JSON object"),
        ('"ping"', "JSON object"),
        ("{}", "has a type"),
        ('{"type":1}', "has a type"),
        ('{"type":null}', "has a type"),
        ('{"type":"user_message"}', "^user_message: .*content"),
        ('{"type":"user_message","content":1}', "content"),
        ('{"type":"user_message","content":"x","contents":1}', "contents"),
        ('{"type":"user_message","content":"x","user_id":"eve"}', "user_id"),
        ('{"type":"user_message","content":"x","if_busy":"maybe"}', "if_busy"),
        ('{"type":"cancel"}', "run_id"),
        ('{"type":"cancel","run_id":null}', "run_id"),
        ('{"type":"decide","approval_id":"a"}', "decision"),
        ('{"type":"answer","question_id":"q"}', "content"),
        ('{"type":"answer","question_id":"q","content":1}', "content"),
        ('{"type":"answer","question_id":"q","content":"c","run_id":"r"}', "run_id"),
        ('{"type":"decide","approval_id":"a","decision":"expired"}', "decision"),
        ('{"type":"decide","approval_id":"a","decision":"approve","by":"eve"}', "by"),
        ('{"type":"ping","id":[]}', "id"),
        ('{"type":"ping","id":1.5}', "id"),
        ('{"type":"ping","id":true}', "id"),
        ('{"type":"subscribe"}', "either run_id or thread_id"),
        ('{"type":"subscribe","run_id":"r","thread_id":"t"}', "either run_id or thread_id"),
        ('{"type":"unsubscribe"}', "either run_id or thread_id"),
        ('{"type":"unsubscribe","run_id":"r","thread_id":"t"}', "either run_id or thread_id"),
        ('{"type":"subscribe","run_id":"r","after":{"r":1}}', "after of a run is a number"),
        ('{"type":"subscribe","thread_id":"t","after":1}', "after of a thread is an object"),
        ('{"type":"subscribe","run_id":"r","after":-1}', "not below 0"),
        ('{"type":"subscribe","thread_id":"t","after":{"r":1,"s":-1}}', "not below 0"),
        ('{"type":"subscribe","run_id":"r","after":1e300}', "after"),
        ('{"type":"subscribe","run_id":"r","after":9007199254740993}', "after"),
        ('{"type":"subscribe","run_id":"r","after":99999999999999999999999999}', "subscribe"),
        ('{"type":"ping","id":"' + "x" * (MAX_ID + 1) + '"}', "id"),
        ('{"type":"user_message","content":"\\ud800"}', "."),
        ('{"type":"user_message","content":"\ud800"}', "."),
    ],
)
def test_a_frame_that_is_none_is_refused_with_a_sentence(frame: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence) as refused:
        read_frame(frame)
    assert refused.value.code == "invalid"
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("kind", ["shout", "", "PING", "connection_established", "x" * 10_000])
def test_a_type_that_is_not_known_is_named_and_the_known_ones_too(kind: str) -> None:
    with pytest.raises(UnknownType, match="there are answer, authenticate, cancel, decide, ping, subscribe") as refused:
        read_frame(text(type=kind))
    assert refused.value.code == "unknown_type"
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("frame", "ident"),
    [
        ('{"type":"nope","id":"a"}', "a"),
        ('{"id":7}', 7),
        ('{"id":-1,"x":{}}', -1),
        ("{}", None),
        ("[]", None),
        ("{", None),
        ('{"id":[]}', None),
        ('{"id":1.5}', None),
        ('{"id":"' + "x" * 201 + '"}', None),
        ('{"id":"\ud800"}', None),
        ('{"id":9007199254740993}', None),
        ("[" * 100_000, None),
        ('{"id":true}', None),
    ],
)
def test_the_id_of_a_refused_frame_is_found_where_it_can_be_echoed(frame: str, ident: object) -> None:
    assert id_of(frame) == ident


@given(
    st.text()
    | st.recursive(st.none() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)).map(
        json.dumps
    )
)
def test_whatever_comes_is_a_frame_or_a_refusal(frame: str) -> None:
    id_of(frame)
    try:
        read_frame(frame)
    except Refused as refusal:
        assert json.loads(write_refusal(refusal, id_of(frame)))["message"] == str(refusal)


def test_answers_carry_the_id_of_what_they_answer_and_refusals_always_have_one() -> None:
    assert json.loads(write("ok", "a")) == {"type": "ok", "id": "a"}
    assert json.loads(write("pong")) == {"type": "pong"}
    assert json.loads(write("message_accepted", 0, run_id="r")) == {"type": "message_accepted", "id": 0, "run_id": "r"}
    assert json.loads(write_refusal(Busy("no"), None)) == {"type": "error", "id": None, "code": "busy", "message": "no"}
    assert json.loads(write_refusal(NotFound("run", "r"), 3)) == {
        "type": "error",
        "id": 3,
        "code": "not_found",
        "message": "there is no run r",
    }


def test_the_close_codes_are_the_contracts() -> None:
    assert {close.name: int(close) for close in Close} == {
        "COME_BACK": 1001,
        "BINARY": 1003,
        "NOT_UTF8": 1007,
        "BUG": 1011,
        "UNAUTHENTICATED": 4401,
        "ORIGIN": 4403,
        "TIMED_OUT": 4408,
        "TOO_MANY": 4409,
        "TOO_LARGE": 4413,
        "FLOOD": 4429,
    }
