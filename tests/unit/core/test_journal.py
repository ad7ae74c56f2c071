"""The journal of a run: what was done before is given back once, and what is not done again is found out."""

import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_apex.core.events import AgentStarted, AgentThinking, RunQueued
from netra_apex.core.ids import derived_id
from netra_apex.core.journal import Decision, Journal, Step, StepKind, digest_of, note
from netra_apex.core.messages import UserMessage
from netra_apex.core.runs import RunStream
from netra_apex.errors import AgentTimedOut, IllegalTransition, Nondeterministic, RunFailed, ToolOutcomeUnknown


def step(key: str = "1", kind: StepKind = "call", name: str = "pay", digest: str = "d") -> Step:
    return Step(key=key, kind=kind, name=name, digest=digest, state="finished", result={"value": key})


def take(journal: Journal, of: Step) -> Step | None:
    return journal.take(of.key, of.kind, of.name, of.digest)


def test_a_step_from_before_is_given_back_once() -> None:
    before = step()
    journal = Journal([before])
    assert take(journal, before) is before
    assert take(journal, before) is None, "it is behind the agent"
    journal.finish()
    assert journal.broken is None


def test_a_note_is_found_again_by_what_it_was_of() -> None:
    kept = note("1/asks1", "asks1", {"state": "x"}, digest="d")
    assert Journal([kept]).take("1/asks1", "think", "asks1", "d") is kept


def test_steps_are_found_by_their_key_in_whatever_order_they_come() -> None:
    steps = [step("1"), step("f1.1"), step("f2.1"), step("2")]
    journal = Journal(steps)
    assert [take(journal, each) for each in reversed(steps)] == steps[::-1]
    journal.finish()


def test_a_new_run_has_done_nothing() -> None:
    journal = Journal()
    assert take(journal, step("1")) is None
    journal.finish()
    assert journal.broken is None


def test_what_comes_after_the_last_step_is_new() -> None:
    journal = Journal([step("1")])
    assert take(journal, step("2")) is None
    assert take(journal, step("1")) is not None
    assert take(journal, step("3")) is None
    journal.finish()


@pytest.mark.parametrize(
    ("now", "sentence"),
    [
        (step(kind="model", name="model"), "'call pay', and now it is 'model model'"),
        (step(kind="step"), "'call pay', and now it is 'step pay'"),
        (step(name="refund"), "'call pay', and now it is 'call refund'"),
        (step(name="refund", digest="e"), "'call pay', and now it is 'call refund'"),
        (step(digest="e"), "other content"),
    ],
    ids=["another kind and name", "another kind", "another name", "another name and digest", "another digest"],
)
def test_a_step_that_is_another_one_than_before_breaks_the_run_for_good(now: Step, sentence: str) -> None:
    journal = Journal([step("1"), step("2")])
    with pytest.raises(Nondeterministic) as first:
        take(journal, now)
    assert first.value.step == "1"
    assert str(first.value) == f"the agent does not do the same twice: at step 1, before the restart it was {sentence}"
    assert first.value.code == "nondeterministic"
    assert not first.value.retryable
    assert journal.broken is first.value
    # Its code may have caught the exception and gone on, with what it did before or with something new.
    for later in (step("1"), step("2"), step("3")):
        with pytest.raises(Nondeterministic) as again:
            take(journal, later)
        assert again.value is first.value
    with pytest.raises(Nondeterministic) as last:
        journal.finish()
    assert last.value is first.value


def test_a_step_that_was_left_out_is_an_error_that_names_it() -> None:
    journal = Journal([step("1"), step("2", "model", "model"), step("3")])
    take(journal, step("1"))
    with pytest.raises(Nondeterministic) as left_out:
        journal.finish()
    assert left_out.value.step == "2"
    assert str(left_out.value) == (
        "the agent does not do the same twice: at step 2, before the restart there was 'model model' here"
    )
    for wanted in (step("2", "model", "model"), step("4")):
        with pytest.raises(Nondeterministic) as again:
            take(journal, wanted)
        assert again.value is left_out.value
    with pytest.raises(Nondeterministic) as last:
        journal.finish()
    assert last.value is left_out.value


def test_a_named_step_may_be_left_as_it_belongs_to_no_place() -> None:
    journal = Journal([step("step:price", "step", "price")])
    journal.finish()
    assert journal.broken is None
    journal = Journal([step("step:price", "step", "price"), step("1")])
    with pytest.raises(Nondeterministic) as left_out:
        journal.finish()
    assert left_out.value.step == "1"


def test_a_named_step_is_found_by_its_name_wherever_it_stood() -> None:
    price, rate = step("f1.1", "step", "price", ""), step("2", "step", "rate", "")
    journal = Journal([step("1"), price, rate])
    assert journal.take_named("3", "rate") is rate
    assert journal.take_named("f2.1", "price") is price
    assert journal.take_named("f2.1", "price") is None, "it is behind the agent"
    assert journal.take_named("4", "new") is None
    assert take(journal, step("1")) is not None
    journal.finish()


def test_a_named_step_is_not_one_of_another_kind_with_its_name() -> None:
    journal = Journal([step("1", "call", "price", "")])
    assert journal.take_named("2", "price") is None
    with pytest.raises(Nondeterministic):
        journal.finish()


def test_a_named_step_where_another_step_stood_breaks_the_run() -> None:
    price = step("2", "step", "price", "")
    for there in (step("1"), step("1", "step", "rate", "")):
        journal = Journal([there, price])
        with pytest.raises(Nondeterministic, match=f"it was '{there.kind} {there.name}', and now it is 'step price'"):
            journal.take_named("1", "price")
        # The run is broken: it is not given from its own place either.
        with pytest.raises(Nondeterministic) as later:
            journal.take_named("2", "price")
        assert later.value is journal.broken


def test_a_named_step_at_its_own_place_is_given_once() -> None:
    price = step("1", "step", "price", "")
    journal = Journal([price])
    assert journal.take_named("1", "price") is price
    assert journal.take_named("1", "price") is None
    journal.finish()


def fork_of(journal: Journal, of: Step, way: str = "") -> int | None:
    return journal.fork_of(way, of.kind, of.name, of.digest)


def test_a_branch_is_known_by_the_step_that_it_began_with() -> None:
    first, second = step("f1.1", digest="a"), step("f12.1", digest="b")
    journal = Journal([step("1"), first, step("f1.2", digest="c"), second])
    assert fork_of(journal, second) == 12
    assert fork_of(journal, first) == 1
    assert fork_of(journal, step(digest="c")) is None, "it is no branch's first step"
    assert fork_of(journal, step()) is None, "it is no branch's step"
    for other in (step(digest="z"), step(name="refund", digest="b"), step(kind="step", digest="b")):
        assert fork_of(journal, other) is None
    take(journal, second)
    assert fork_of(journal, second) is None, "it is behind the agent"


def test_branches_that_began_alike_are_given_one_after_the_other() -> None:
    alike = [step(f"f{number}.1") for number in (1, 2, 3)]
    journal = Journal(alike)
    for number, each in enumerate(alike, 1):
        assert fork_of(journal, step()) == number
        take(journal, each)
    assert fork_of(journal, step()) is None


def test_a_branch_belongs_to_where_it_branched_off() -> None:
    steps = [
        step("f1.f2.1", digest="nested"),
        step("2/f3.1", digest="in a call"),
        step("f4.1/1", digest="in a branch's call"),
        step("f4.1/f5.1", digest="in a branch of a branch's call"),
    ]
    journal = Journal(steps)
    ways = ("", "f1.", "2/", "f4.1/", "f1.f2.")
    found = {of.digest: [fork_of(journal, of, way) for way in ways] for of in steps}
    assert found == {
        "nested": [None, 2, None, None, None],
        "in a call": [None, None, 3, None, None],
        "in a branch's call": [None] * 5,
        "in a branch of a branch's call": [None, None, None, 5, None],
    }


def test_the_numbers_of_branches_that_are_still_to_come_are_known() -> None:
    first, second = step("f1.1", digest="a"), step("f3.2", digest="b")
    journal = Journal([step("1"), first, second, step("f3.f7.1"), step("2/f4.1"), step("f5"), step("fx.1")])
    assert journal.forks("") == {1, 3, 5}
    assert journal.forks("f3.") == {7}
    assert journal.forks("2/") == {4}
    take(journal, first)
    assert journal.forks("") == {3, 5}


def test_the_branches_of_which_the_first_step_is_not_there_are_known() -> None:
    journal = Journal([step("f1.1"), step("f1.2"), step("f2.2"), step("f2.3"), step("f3.f7.2"), step("2/f4.2")])
    assert journal.forks("", headless=True) == {2, 3}
    assert journal.forks("f3.", headless=True) == {7}


def test_what_was_done_inside_a_finished_call_is_behind_the_agent_with_it() -> None:
    inside = [step("1/1"), step("1/f1.1", "model", "model"), step("1/1/1")]
    beside = [step("1"), step("10/1"), step("f1.1/1"), step("11")]
    journal = Journal([*inside, *beside])
    assert journal.take_inside("1") == tuple(inside)
    assert journal.take_inside("1") == ()
    assert [take(journal, each) for each in inside] == [None] * 3
    assert [take(journal, each) for each in beside] == beside
    journal.finish()


def test_a_named_step_inside_a_finished_call_is_left_for_whoever_asks_for_it() -> None:
    price, asked = step("1/1", "step", "price", ""), step("1/2", "model", "model")
    journal = Journal([price, asked])
    assert journal.take_inside("1") == (asked,)
    assert journal.take_named("2", "price") is price
    journal.finish()


def test_the_first_reason_why_a_run_cannot_go_on_stays() -> None:
    journal = Journal([step("1")])
    first = ToolOutcomeUnknown("pay", "call_1")
    assert journal.fail(first) is first
    assert journal.fail(AgentTimedOut("too long")) is first
    assert journal.broken is first
    for later in (lambda: take(journal, step("1")), lambda: take(journal, step("1", name="other")), journal.finish):
        with pytest.raises(RunFailed) as raised:
            later()
        assert raised.value is first, "neither another step nor one that is left out is the reason any more"


def test_a_step_comes_back_from_its_json_as_it_was() -> None:
    before = Step(
        key="f1.2", kind="call", name="pay", digest="d", state="unknown", call_id="call_1", attempt=3, result={"a": [1]}
    )
    assert msgspec.json.decode(msgspec.json.encode(before), type=Step) == before


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


HALVES = st.text(st.characters(categories=["Cs"]), min_size=1)


@given(value=VALUES, half=HALVES)
def test_a_digest_of_a_text_that_is_no_unicode_depends_on_nothing_but_the_value(value: Any, half: str) -> None:
    odd = {"value": value, f"of {half}": [half, value]}
    digest = digest_of(odd)
    assert digest == digest_of(_turned_round(odd))
    assert digest != digest_of(odd, odd)
    assert digest != digest_of(odd | {"value": [value]})
    assert digest != digest_of(odd | {f"of {half}": [f"{half}?", value]})


def test_halves_of_surrogate_pairs_are_told_apart() -> None:
    texts = ["\ud800", "\udfff", "\ud800\udfff", "?", "\ufffd", "\\ud800", "'\\ud800'"]
    assert len({digest_of(text) for text in texts}) == len(texts)
    assert len({digest_of([UserMessage(text)]) for text in texts}) == len(texts)
    assert digest_of([UserMessage("\ud800")]) == digest_of([UserMessage("\ud800")])


@given(value=VALUES)
def test_a_digest_depends_on_nothing_but_the_value(value: Any) -> None:
    digest = digest_of(value)
    assert digest == digest_of(_turned_round(value))
    assert digest != digest_of(value, value)
    assert digest != digest_of([value])


def _turned_round(value: Any) -> Any:
    """The same value, with what has no order in another one."""
    if isinstance(value, dict):
        return {key: _turned_round(inner) for key, inner in reversed(value.items())}
    return [_turned_round(inner) for inner in value] if isinstance(value, list) else value


def test_digests_tell_values_apart() -> None:
    values = [{}, [], None, "", 0, "0", False, {"a": 1}, {"a": "1"}, {"a": 1, "b": None}, [1, 2], [2, 1], "a", ["a"]]
    assert len({digest_of(value) for value in values}) == len(values)
    assert digest_of("a", "b") != digest_of("ab", "")


def test_digests_and_derived_ids_are_the_same_in_every_process() -> None:
    code = (
        "from netra_apex.core.ids import derived_id; from netra_apex.core.journal import digest_of;"
        "print(digest_of({'b': [1, 'é'], 'a': None}), digest_of({'b': '\\ud800', 'a': 1}),"
        "derived_id('msg', 'run_1', '1'))"
    )
    made = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    }
    here = [digest_of({"a": None, "b": [1, "é"]}), digest_of({"a": 1, "b": "\ud800"}), derived_id("msg", "run_1", "1")]
    assert made == {f"{' '.join(here)}\n"}


def test_a_derived_id_is_made_of_its_kind_and_of_all_its_parts() -> None:
    ident = derived_id("msg", "run_1", "f1.2", "message")
    assert ident == derived_id("msg", "run_1", "f1.2", "message")
    assert ident.removeprefix("msg_") == derived_id("thought", "run_1", "f1.2", "message").removeprefix("thought_")
    assert len(ident.removeprefix("msg_")) == 32
    parts = [("run_1",), ("run_2",), ("run_1", "1"), ("run_11",), ("run_1", ""), ("1", "run_1"), ("run_1", "1", "")]
    assert len({derived_id("msg", *of) for of in parts}) == len(parts)


def test_a_stream_keeps_the_epoch_that_it_was_taken_up_with() -> None:
    assert RunStream().epoch == 1
    stream = RunStream(epoch=3)
    stream.admit(RunQueued(reason="busy"))
    stream.admit_all([AgentStarted(task="hi"), AgentThinking(text="hm", step=1)])
    with pytest.raises(IllegalTransition):
        stream.admit_all([AgentThinking(text="hm", step=2), AgentStarted(task="again")])
    assert (stream.epoch, stream.last_seq) == (3, 3)


def test_a_journal_owes_the_calls_that_were_decided_on_until_the_agent_has_come_to_them() -> None:
    def asked(key: str, approval: str) -> Step:
        return msgspec.structs.replace(step(key), state="started", result={"approval": approval})

    begun = msgspec.structs.replace(step("3"), state="started", result=None)
    steps = [asked("1", "apr_1"), asked("2", "apr_2"), begun, step("4"), step("5", kind="model")]
    assert not Journal(steps).owes
    assert not Journal(steps, {"apr_9": Decision("approve", "ada")}).owes
    journal = Journal(steps, {"apr_2": Decision("reject", "ada", "no")})
    assert journal.owes
    take(journal, steps[0])
    assert journal.owes
    take(journal, steps[1])
    assert not journal.owes


def test_a_journal_owes_the_questions_that_were_answered() -> None:
    asked = msgspec.structs.replace(step("1"), state="started", result={"question": "que_1"})
    assert not Journal([asked]).owes
    journal = Journal([asked], {"que_1": Decision("answer", "ada", "May")})
    assert journal.owes
    take(journal, asked)
    assert not journal.owes


def test_a_run_was_left_at_rest_where_that_is_said() -> None:
    assert (Journal().at_rest, Journal(at_rest=True).at_rest) == (False, True)
