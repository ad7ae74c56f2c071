"""The cost team in the engine: each member tells its events in order, and does as much as the data allows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.unit.demo import exports
from tests.unit.demo.exports import LITELLM_COLUMNS, OPENAI_COLUMNS, table

from netra_apex.core.belongings import NewFile
from netra_apex.core.events import (
    AgentCompleted,
    AgentStarted,
    DurableEvent,
    QuestionAsked,
    ToolCompleted,
    ToolExecuting,
    decode,
)
from netra_apex.core.ids import new_id
from netra_apex.demo import registry
from netra_apex.demo.costs.report import CostMaterial, report_of
from netra_apex.demo.costs.sources import SAMPLE
from netra_apex.demo.costs.values import Measured
from netra_apex.demo.sample import sample_csv
from netra_apex.errors import ModelFailed
from netra_apex.testing import ScriptedModel, harness
from netra_apex.testing.harness import Harness, Outcome
from netra_apex.testing.scripted import calls

AGENT = "cost-analysis"
TEAM = ["triage", "data", "optimisation", "actions", "report"]
TOOLS = {
    "triage": {"look_at_files"},
    "data": {"measure_costs", "measure_spread", "find_duplicates"},
    "optimisation": {"try_smaller_models", "try_caching", "try_shorter_prompts"},
    "actions": {"rank_actions"},
    "report": {"write_report"},
}


async def content(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def thread(app: Harness, *files: tuple[str, bytes], user: str = "ada") -> str:
    """A thread with these files."""
    stores = app.runtime.stores
    made = await stores.conversations.add_thread(user, new_id("thr"), "costs")
    for name, data in files:
        new = NewFile(file_id=new_id("fil"), name=name, media_type="text/csv")
        await stores.files.add_file(user, made.thread_id, new, content(data))
    return made.thread_id


def asked(text: str, *files: tuple[str, bytes], agent: str | None = AGENT, model: Any = None) -> Outcome:
    """What comes of a message in a thread with these files."""

    async def main() -> Outcome:
        async with harness(registry, model=model) as app:
            return await app.ask(text, agent=agent, thread_id=await thread(app, *files))

    return run(main())


def started(outcome: Outcome) -> list[str]:
    members = {*TEAM, "inquirer"}
    return [event.agent for event in outcome.of(AgentStarted) if event.agent in members]


def told_by(outcome: Outcome, agent: str) -> list[DurableEvent]:
    return [event for event in outcome.events if event.agent == agent]


@pytest.mark.parametrize(("agent", "depth"), [(AGENT, 1), (None, 2)])
def test_each_member_tells_its_events_in_order_at_its_depth(agent: str | None, depth: int) -> None:
    outcome = asked("Analyze my AI costs", ("usage.csv", sample_csv()), agent=agent)
    assert started(outcome) == TEAM
    handed = {e.call_id: e.tool for e in outcome.of(ToolExecuting) if e.agent == AGENT}
    for member in TEAM:
        told = told_by(outcome, member)
        kinds = [str(event.__struct_config__.tag) for event in told]
        count = len(TOOLS[member])
        assert kinds == [
            "agent_started", "agent_thinking", *["tool_executing"] * count, *["tool_completed"] * count,
            "agent_completed",
        ]  # fmt: skip
        assert {e.tool for e in told if isinstance(e, ToolCompleted) and e.ok} == TOOLS[member]
        assert {(e.depth, e.parent_agent) for e in told} == {(depth, AGENT)}
        assert {handed[str(e.parent_call_id)] for e in told} == {f"delegate_{member}"}
    assert "# AI cost analysis: usage.csv" in outcome.output
    assert "made-up sample" not in outcome.output


def test_the_report_has_the_figures_that_are_computed_anew() -> None:
    data = sample_csv(rows=500, seed=3)
    rows = exports.rows_of(data)
    report = asked("Analyze my AI costs", ("usage.csv", data)).output
    assert f"**${sum(exports.spent(rows, 'day').values()):,.2f}** from 2026-09-01 to 2026-09-30" in report
    for model, cost in exports.spent(rows, "model").items():
        line = next(line for line in report.splitlines() if line.startswith(f"| {model}"))
        told = line.split("$")[1].split("|")[0]
        assert float(told) == pytest.approx(float(cost), abs=0.005)
    for day, cost in exports.spent(rows, "day").items():
        line = next(line for line in report.splitlines() if line.startswith(day))
        assert float(line.split("$")[1]) == pytest.approx(float(cost), abs=0.005)
    times, cost = exports.repeated(rows)
    assert f"{times} of 500 rows repeat an earlier one, and cost **${cost:,.2f}**" in report


def test_the_report_is_kept_as_a_file_of_the_thread() -> None:
    async def main() -> tuple[str, list[tuple[str, str]], str]:
        async with harness(registry) as app:
            thread_id = await thread(app, ("usage.csv", sample_csv()))
            outcome = await app.ask("Analyze my AI costs", agent=AGENT, thread_id=thread_id)
            page = await app.runtime.stores.files.files("ada", thread_id, limit=10, cursor=None)
            assert page is not None
            kept = page.items[-1]
            pieces = [piece async for piece in app.runtime.stores.files.read_file("ada", thread_id, kept.file_id)]
            again = await app.ask("Analyze my AI costs", agent=AGENT, thread_id=thread_id)
            assert "# AI cost analysis: usage.csv" in again.output, "the report is no export to read"
            return outcome.output, [(each.name, each.media_type) for each in page.items], b"".join(pieces).decode()

    report, files, kept = run(main())
    assert files[0] == ("usage.csv", "text/csv")
    assert files[1][1] == "text/markdown"
    assert report == f"{kept}\n\nThis report is kept in the thread as `{files[1][0]}`."


def test_the_sample_is_analysed_where_it_is_asked_for_and_says_that_it_is_one() -> None:
    outcome = asked("Analyze the AI costs of the sample")
    assert started(outcome) == TEAM
    assert "**This is a made-up sample, not your usage.**" in outcome.output


@pytest.mark.parametrize(
    ("answer", "found"), [("the sample, please", "made-up sample"), ("done", "usage.csv"), ("no", "“no”")]
)
def test_without_a_file_the_user_is_asked_and_his_answer_is_what_is_analysed(answer: str, found: str) -> None:
    async def main() -> Outcome:
        async with harness(registry) as app:
            thread_id = await thread(app)
            accepted = await app.post("Analyze my AI costs", thread_id=thread_id)
            question = await asked_in(app, accepted.run_id)
            assert "Attach a CSV file" in question.text
            if answer == "done":
                new = NewFile(file_id=new_id("fil"), name="usage.csv", media_type="text/csv")
                await app.runtime.stores.files.add_file("ada", thread_id, new, content(sample_csv()))
            await app.runtime.house.answer("ada", question.question_id, answer)
            return await app.outcome("ada", accepted)

    outcome = run(main())
    members = ["triage", "inquirer", *(TEAM[1:] if answer != "no" else ["report"])]
    assert started(outcome) == members
    assert found in outcome.output
    if answer == "no":
        assert outcome.output.startswith("# AI cost analysis\n\nNothing could be analysed: there is no usage export")
        assert "- What was spent (data): there was nothing to work with" in outcome.output


async def asked_in(app: Harness, run_id: str) -> QuestionAsked:
    async for _, text in app.runtime.reader.follow("ada", run_id, 0):
        if '"question_asked"' in text:
            event = decode(text)
            assert isinstance(event, QuestionAsked)
            return event
    raise AssertionError("nothing was asked")


def test_a_file_that_is_no_export_leaves_helper_and_report_with_the_reason() -> None:
    outcome = asked("Analyze my AI costs", ("people.csv", b"name,age\nada,36\n"))
    assert started(outcome) == ["triage", "inquirer", "report"]
    assert "people.csv: its columns (name, age) are those of no known export" in outcome.output
    assert "\n\nAttach a CSV file with AI usage to this thread (" in outcome.output
    assert "ask for an analysis of the sample." in outcome.output, "in full"
    assert "You said" not in outcome.output, "he was not asked"


def test_a_file_brought_as_the_answer_that_is_no_export_is_told_with_its_problem() -> None:
    async def main() -> Outcome:
        async with harness(registry) as app:
            thread_id = await thread(app)
            accepted = await app.post("Analyze my AI costs", thread_id=thread_id)
            question = await asked_in(app, accepted.run_id)
            new = NewFile(file_id=new_id("fil"), name="people.csv", media_type="text/csv")
            await app.runtime.stores.files.add_file("ada", thread_id, new, content(b"name,age\nada,36\n"))
            await app.runtime.house.answer("ada", question.question_id, "done")
            return await app.outcome("ada", accepted)

    output = run(main()).output
    assert "Nothing could be analysed: people.csv: its columns (name, age)" in output
    assert "You said: “done”.\n\nAttach a CSV file" in output


def test_the_newest_export_is_read_or_the_one_that_is_named() -> None:
    files = (("a.csv", sample_csv(rows=10)), ("b.csv", sample_csv(rows=20)), ("c.csv", b"name\nada\n"))
    assert "# AI cost analysis: b.csv" in asked("Analyze my AI costs", *files).output
    assert "# AI cost analysis: a.csv" in asked("Analyze my AI costs of a.csv", *files).output


def test_rows_that_cannot_be_read_are_told_in_the_report() -> None:
    rows = [exports.litellm(), exports.litellm(spend="free"), exports.litellm(model="<b>|![`x`](y)\u202e")]
    report = asked("Analyze my AI costs", ("usage.csv", table(LITELLM_COLUMNS, rows))).output
    assert "**1 row could not be read and is left out.** The first: row 3, column spend: 'free' is no amount." in report
    assert "<b>" not in report
    assert "\u202e" not in report
    assert "| (b)\\|!(`x`)(y) " in report


def test_a_model_without_a_price_has_no_figure_as_it_was_not_free() -> None:
    rows = [exports.openai(), exports.openai(model="our-own-model")]
    report = asked("Analyze my AI costs", ("usage.csv", table(OPENAI_COLUMNS, rows))).output
    assert "**1 row has no cost, and no known price: our-own-model.**" in report
    cells = [each.split() for each in report.splitlines() if "our-own-model" in each and each.startswith("|")]
    assert [each[3:6:2] for each in cells] == [["-", "-"]]
    assert not any(each.startswith("our-own-model") for each in report.splitlines()), "it has no bar"

    report = asked("Analyze my AI costs", ("usage.csv", table(OPENAI_COLUMNS, rows[1:]))).output
    assert "- What was spent is not known: the file has no costs, and no price is known of its models." in report


def test_a_file_is_analysed_unless_the_sample_is_asked_for_in_so_many_words() -> None:
    usage = ("usage.csv", sample_csv(rows=10))
    assert "# AI cost analysis: usage.csv" in asked("Analyze this sample of my AI costs", usage).output
    assert "# AI cost analysis: the sample" in asked("Analyze the AI costs of the sample", usage).output


def test_a_run_that_is_taken_up_again_opens_the_file_anew_and_measures_nothing_twice(tmp_path: Path) -> None:
    async def main() -> tuple[Outcome, int]:
        held = asyncio.Event()

        async def rests(request: Any) -> str:
            held.set()
            await asyncio.Event().wait()
            return ""

        data = ("measure_costs", "measure_spread", "find_duplicates")
        model = ScriptedModel([calls(("look_at_files", {})), calls(*((name, {}) for name in data)), rests])
        async with harness(registry, model=model, home=tmp_path, drain_seconds=0.01) as app:
            thread_id = await thread(app, ("usage.csv", sample_csv(rows=200)))
            accepted = await app.post("Analyze my AI costs", agent=AGENT, thread_id=thread_id)
            await held.wait()
        async with harness(registry, home=tmp_path) as app:
            return await app.outcome("ada", accepted), len(model.requests)

    outcome, requests = run(main())
    assert requests == 3
    assert started(outcome) == TEAM
    assert [e.tool for e in outcome.of(ToolExecuting)].count("measure_costs") == 1
    assert "## What could be saved" in outcome.output


@pytest.mark.parametrize("question", ["What is 17*23?", "How do I add a tool?", "What time is it in Asia/Tokyo?", "Hi"])
def test_other_questions_are_the_assistants_own(question: str) -> None:
    assert started(asked(question, agent=None)) == []


@pytest.mark.parametrize("text", ["analyse my ai costs", "Please analyze our LLM spending", "cost analysis of usage"])
def test_questions_on_costs_reach_the_team_by_the_assistant(text: str) -> None:
    assert started(asked(text, ("usage.csv", sample_csv(rows=10)), agent=None)) == TEAM


def test_files_of_another_thread_or_user_are_not_seen() -> None:
    async def main() -> list[str]:
        async with harness(registry) as app:
            await thread(app, ("mine.csv", sample_csv()))
            await thread(app, ("theirs.csv", sample_csv()), user="bob")
            accepted = await app.post("Analyze my AI costs", agent=AGENT, thread_id=await thread(app))
            await asked_in(app, accepted.run_id)
            events = await app.runtime.stores.runs.events("ada", accepted.run_id, 0, 100)
            return [str(event) for event in events]

    assert not any("mine.csv" in event or "theirs.csv" in event for event in run(main()))


# With a model ---------------------------------------------------------------------------------------------------------


def script(*, remark: str = "", **left_out: bool) -> ScriptedModel:
    """A model that calls the tools, and adds a remark."""
    data = [name for name in ("measure_costs", "measure_spread", "find_duplicates") if name not in left_out]
    said: list[Any] = [calls(("look_at_files", {})), calls(*((name, {}) for name in data))]
    said += ["I have enough."] * 2 if left_out else []
    said.append(calls(("try_smaller_models", {}), ("try_caching", {}), ("try_shorter_prompts", {})))
    said += [calls(("rank_actions", {"order": "effort"})), calls(("write_report", {"remark": remark}))]
    return ScriptedModel(said)


def test_with_a_model_the_model_calls_the_tools_and_sees_no_row() -> None:
    model = script(remark="Sonnet is where  the money goes.")
    outcome = asked("Analyze my AI costs", ("usage.csv", sample_csv()), model=model)
    model.assert_done()
    assert started(outcome) == TEAM
    assert "> Sonnet is where the money goes.\n\n- $" in outcome.output
    assert "(the least effort first)" in outcome.output
    seen = "\n".join(message.content for request in model.requests for message in request.messages)
    assert "claude-sonnet-4-5" not in seen


@pytest.mark.parametrize("remark", ["You spent $12,345.67 in all.", "Save 93 % at once"])
def test_a_remark_with_a_figure_that_no_tool_gave_is_left_out(remark: str) -> None:
    outcome = asked("Analyze my AI costs", ("usage.csv", sample_csv()), model=script(remark=remark))
    assert remark not in outcome.output
    assert "_A remark of the model was left out: it named figures that no tool gave._" in outcome.output


def test_what_the_model_has_not_called_is_said_to_be_missing() -> None:
    outcome = asked("Analyze", ("usage.csv", sample_csv()), model=script(measure_spread=True))
    assert started(outcome) == TEAM
    assert "- Not computed: percentiles, anomalies and peaks." in outcome.output
    assert "## How it is spread" not in outcome.output


def test_a_member_whose_model_fails_is_missing_in_the_report() -> None:
    said: list[Any] = [
        calls(("look_at_files", {})),
        ModelFailed("it is away", model="m"),
        calls(("try_smaller_models", {}), ("try_caching", {}), ("try_shorter_prompts", {})),
        calls(("rank_actions", {})),
        calls(("write_report", {})),
    ]
    outcome = asked("Analyze my AI costs", ("usage.csv", sample_csv()), model=ScriptedModel(said))
    assert started(outcome) == TEAM
    assert "- What was spent (data): data failed (model_error): " in outcome.output
    assert "## What to do" in outcome.output


def test_a_report_without_anything_says_so() -> None:
    report = report_of(CostMaterial(asked="x", source=SAMPLE, measured=Measured(), missing={"actions": "it broke"}))
    assert "- What to do (actions): it broke" in report
    assert "Not computed: costs by model, feature and time, percentiles" in report


def test_two_users_at_once_each_get_their_own_figures() -> None:
    async def main() -> list[str]:
        async with harness(registry) as app:
            files = {name: sample_csv(rows=200 + 100 * i, seed=i) for i, name in enumerate(("ada", "bob", "eve"))}
            threads = {name: await thread(app, ("usage.csv", data), user=name) for name, data in files.items()}
            asking = [
                app.ask("Analyze my AI costs", user=name, agent=AGENT, thread_id=thread_id)
                for name, thread_id in threads.items()
            ]
            outcomes = await asyncio.gather(*asking)
            totals = [sum(exports.spent(exports.rows_of(data), "day").values()) for data in files.values()]
            for outcome, total in zip(outcomes, totals, strict=True):
                assert f"**${total:,.2f}** from" in outcome.output
            return [f"{total:,.2f}" for total in totals]

    assert len(set(run(main()))) == 3


def test_the_ending_of_the_run_is_the_report() -> None:
    outcome = asked("Analyze my AI costs", ("usage.csv", sample_csv()), agent=None)
    last = outcome.events[-1]
    assert isinstance(last, AgentCompleted)
    assert (last.agent, last.depth) == ("assistant", 0)
    assert outcome.output.startswith("# AI cost analysis: usage.csv")
