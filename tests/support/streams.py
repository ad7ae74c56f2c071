"""What must hold of every run's stream, as one check: sequence, ending, fields, pairs, and that the deltas add up."""

import re
from collections.abc import Iterable
from typing import Any

Frame = dict[str, Any]
AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
HEADER = {"type": str, "seq": int, "run_id": str, "thread_id": str, "agent": str, "depth": int, "at": str}
FIELDS: dict[str, dict[str, Any]] = {
    "run_queued": {"reason": str},
    "agent_started": {"task": object},
    "agent_thinking": {"text": str, "step": int},
    "tool_executing": {"call_id": str, "tool": str, "arguments": object},
    "tool_completed": {"call_id": str, "tool": str, "ok": bool, "duration_ms": int},
    "approval_requested": {"approval_id": str, "call_id": str, "tool": str, "arguments": object, "expires_at": str},
    "approval_decided": {"approval_id": str, "decision": str, "by": str},
    "question_asked": {"question_id": str, "call_id": str, "text": str},
    "question_answered": {"question_id": str, "content": str},
    "message_completed": {"message_id": str, "content": str},
    "agent_completed": {"output": object, "usage": dict, "duration_ms": int},
    "agent_failed": {"code": str, "message": str, "retryable": bool},
    "agent_cancelled": {"by": str},
}
PASSING = {
    "message_delta": {"run_id", "message_id", "attempt", "offset", "text", "agent", "depth", "parent_call_id"},
    "thinking_delta": {"run_id", "message_id", "attempt", "offset", "text", "agent", "depth", "parent_call_id"},
    "message_reset": {"run_id", "message_id", "attempt", "agent", "depth", "parent_call_id"},
}
ENDINGS = ("agent_completed", "agent_failed", "agent_cancelled")


def check_run(frames: Iterable[Frame], *, after: int = 0, ending: str | None = "agent_completed") -> list[Frame]:
    """The durable events of one run's frames, told from `after` to its ending, if all holds that the contract says.

    `ending` None: the frames stop before the ending.
    """
    frames = list(frames)
    events = [frame for frame in frames if "seq" in frame]
    assert [event["seq"] for event in events] == list(range(after + 1, after + 1 + len(events)))
    assert len({(event["run_id"], event["thread_id"]) for event in events}) == 1
    for event in events:
        check_fields(event)
    ends = [event["type"] for event in events if event["type"] in ENDINGS and event["depth"] == 0]
    if ending is None:
        assert ends == []
    else:
        assert ends == [ending], events[-1]
        assert frames[-1]["type"] == ending, f"{frames[-1]} follows the ending"
    check_calls(events, whole=not after and ending is not None)
    check_texts(frames)
    return events


def check_fields(event: Frame) -> None:
    """An event has its fields, of their types, and no others."""
    wanted = HEADER | FIELDS[event["type"]]
    if event["type"] == "tool_completed":
        wanted = wanted | ({"result": object} if event["ok"] else {"error": dict})
    if event["depth"]:
        wanted = wanted | {"parent_agent": str, "parent_call_id": str}
    if "again" in event:
        wanted = wanted | {"again": bool}
    assert event.keys() == wanted.keys(), event
    for name, kind in wanted.items():
        assert isinstance(event[name], kind), (name, event)
    assert AT.fullmatch(event["at"]), event
    if event["type"] == "agent_completed":
        assert event["usage"].keys() == {"input_tokens", "output_tokens", "requests", "cost_usd"}
    if event["type"] == "tool_completed" and not event["ok"]:
        assert event["error"].keys() == {"code", "message"}


def check_calls(events: list[Frame], *, whole: bool) -> None:
    """Each call that began has one end, after it, for the same tool; what is asked about one stands between."""
    began: dict[str, str] = {}
    asked: dict[str, str] = {}
    for event in events:
        if event["type"] == "tool_executing":
            assert event["call_id"] not in began
            began[event["call_id"]] = event["tool"]
        elif event["type"] == "approval_requested":
            assert began[event["call_id"]] == event["tool"], event
            assert event["call_id"] not in asked.values()
            asked[event["approval_id"]] = event["call_id"]
        elif event["type"] == "approval_decided":
            assert asked.pop(event["approval_id"]) in began or not whole, event
        elif event["type"] == "question_asked":
            assert began[event["call_id"]] == "ask_user", event
            assert event["call_id"] not in asked.values()
            asked[event["question_id"]] = event["call_id"]
        elif event["type"] == "question_answered":
            assert asked.pop(event["question_id"]) in began or not whole, event
        elif event["type"] == "tool_completed":
            asked = {approval: call for approval, call in asked.items() if call != event["call_id"]}
            tool = began.pop(event["call_id"], None)
            assert tool == event["tool"] or not whole, event
    assert not began or not whole, began


def check_texts(frames: list[Frame]) -> dict[str, str]:
    """Deltas make each message's text, piece after piece from offset 0; returns the texts by message."""
    texts: dict[str, str] = {}
    attempts: dict[str, int] = {}
    for frame in frames:
        kind, ident = frame["type"], frame.get("message_id")
        if kind not in PASSING:
            if kind == "message_completed" and ident in texts:
                assert texts[ident] == frame["content"]
            continue
        assert ident is not None
        assert frame.keys() - {"type", "parent_call_id"} == PASSING[kind] - {"parent_call_id"}, frame
        if kind == "message_reset":
            assert frame["attempt"] > attempts[ident], frame
            texts[ident], attempts[ident] = "", frame["attempt"]
            continue
        assert frame["attempt"] == attempts.setdefault(ident, frame["attempt"]), frame
        assert frame["offset"] == len(texts.setdefault(ident, "")), frame
        assert frame["text"]
        texts[ident] += frame["text"]
    return texts


def five_in_order(events: list[Frame]) -> None:
    """G4: started, thought, called, called back, completed."""
    kinds = [event["type"] for event in events]
    wanted = ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"]
    places = [kinds.index(kind) for kind in wanted]
    assert places == sorted(places), kinds
    assert kinds.count("agent_started") == 1


def answer_of(events: list[Frame]) -> str:
    """The text of the last answer."""
    return next(event["content"] for event in reversed(events) if event["type"] == "message_completed")


def words(count: int, tag: str = "word") -> str:
    """What the wire model says for `chunks=count tag=tag`."""
    return "".join(f"{tag}{number} " for number in range(count))
