"""What a run tells, told by A2A: artifacts that grow and are replaced, statuses, and outputs that nobody said."""

from datetime import UTC, datetime

from a2a.types import TaskArtifactUpdateEvent, TaskState
from google.protobuf.json_format import MessageToDict

from netra_apex.core.events import (
    AgentCancelled,
    AgentCompleted,
    AgentFailed,
    AgentStarted,
    AgentThinking,
    DurableEvent,
    MessageCompleted,
    MessageDelta,
    MessageReset,
    PassingFrame,
    RunQueued,
    ThinkingDelta,
)
from netra_apex.core.messages import NO_USAGE
from netra_apex.core.runs import Run, RunStatus
from netra_apex.server.protocols.a2a_tasks import Teller, Update

AT = "2026-01-01T00:00:00.000Z"


def teller(status: RunStatus = RunStatus.RUNNING) -> Teller:
    return Teller(
        Run(
            run_id="run_1",
            user_id="ada",
            thread_id="thr_1",
            message_id="msg_1",
            agent="a",
            status=status,
            last_seq=0,
            created_at=datetime.now(UTC),
            ended_at=None,
        )
    )


def delta(text: str, offset: int, kind: type[MessageDelta] = MessageDelta, depth: int = 0) -> MessageDelta:
    return kind(run_id="run_1", message_id="m", attempt=1, offset=offset, text=text, agent="a", depth=depth)


def hear(task: Teller, *heard: DurableEvent | PassingFrame) -> list[Update]:
    told: list[Update] = []
    for each in heard:
        passing = isinstance(each, MessageDelta | MessageReset)
        told += task.hear(None if passing else task.seq + 1, each)
    return told


def pieces(told: list[Update]) -> list[tuple[str, bool]]:
    return [(each.artifact.parts[0].text, each.append) for each in told if isinstance(each, TaskArtifactUpdateEvent)]


def test_an_answer_grows_is_taken_back_and_is_told_whole_at_the_end() -> None:
    task = teller()
    anew = MessageReset(run_id="run_1", message_id="m", attempt=2, agent="a", depth=0)
    told = hear(task, delta("one ", 0), delta("one two", 0), anew, anew, delta("right", 0))
    assert pieces(told) == [("one ", False), ("two", True), ("", False), ("right", False)]
    assert pieces(hear(task, MessageCompleted(message_id="m", content="right", at=AT))) == [("right", False)]
    # Thoughts and members' texts are no answers of the task.
    inside = {"depth": 1, "parent_call_id": "c"}
    assert hear(task, delta("hm", 0, kind=ThinkingDelta), delta("theirs", 0, depth=1)) == []
    assert pieces(hear(task, MessageCompleted(message_id="n", content="theirs", at=AT, **inside))) == []
    assert [each.artifact_id for each in task.task().artifacts] == ["m"]


def test_each_ending_has_its_state_and_what_is_said_of_it() -> None:
    for ending, state, text in (
        (AgentCompleted(output=None, usage=NO_USAGE, duration_ms=1, at=AT), TaskState.TASK_STATE_COMPLETED, ""),
        (AgentFailed(code="x", message="broken", retryable=False, at=AT), TaskState.TASK_STATE_FAILED, "broken"),
        (AgentCancelled(by="ada", at=AT), TaskState.TASK_STATE_CANCELED, "stopped by ada"),
    ):
        task = teller()
        queued, started, thinking, ended = hear(
            task,
            RunQueued(reason="a turn", at=AT),
            AgentStarted(task="do", at=AT),
            AgentThinking(text="hm", step=1, at=AT),
            ending,
        )
        assert queued.status.state == TaskState.TASK_STATE_SUBMITTED
        assert started.status.state == thinking.status.state == TaskState.TASK_STATE_WORKING
        assert thinking.status.message.parts[0].text == "hm"
        assert ended.status.state == state
        assert "".join(part.text for part in ended.status.message.parts) == text
        assert MessageToDict(ended.metadata)["netra"]["event"]["type"] == f"agent_{RunStatus(_name(state)).value}"
        assert task.over
        made = task.task()
        assert (made.status.state, made.history[0].parts[0].text) == (state, "do")


def test_a_members_ending_does_not_end_the_task() -> None:
    task = teller()
    ended = AgentFailed(code="x", message="no", retryable=False, at=AT, depth=1, parent_call_id="c")
    (told,) = hear(task, ended)
    assert told.status.state == TaskState.TASK_STATE_WORKING
    assert not task.over


def test_an_output_that_no_model_said_is_an_artifact_with_its_data() -> None:
    task = teller()
    told = hear(task, AgentCompleted(output={"text": "Hi", "n": 1}, usage=NO_USAGE, duration_ms=1, at=AT))
    text, data = told[0].artifact.parts
    assert (text.text, MessageToDict(data.data)) == ("Hi", {"text": "Hi", "n": 1})
    task = teller()
    said = hear(
        task,
        MessageCompleted(message_id="m", content="Hi", at=AT),
        AgentCompleted(output="Hi", usage=NO_USAGE, duration_ms=1, at=AT),
    )
    assert pieces(said) == [("Hi", False)]


def test_a_past_is_learned_as_it_is_heard_but_for_updates_that_nobody_reads() -> None:
    past = (
        AgentStarted(task="do", at=AT),
        AgentThinking(text="hm", step=1, at=AT),
        MessageCompleted(message_id="m", content="Hi", at=AT),
        AgentCompleted(output="Hi", usage=NO_USAGE, duration_ms=1, at=AT),
    )
    heard, learned = teller(), teller()
    hear(heard, *past)
    told = [each for seq, event in enumerate(past, 1) for each in learned.learn(seq, event)]
    assert learned.task() == heard.task()
    assert (learned.seq, learned.over) == (4, True)
    assert pieces(told) == [("Hi", False)]
    assert len(told) == 1


def _name(state: int) -> str:
    return {
        TaskState.TASK_STATE_COMPLETED: "completed",
        TaskState.TASK_STATE_FAILED: "failed",
        TaskState.TASK_STATE_CANCELED: "cancelled",
    }[state]
