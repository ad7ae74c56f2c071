"""A team carries out its plan: side by side, each shown only what the plan names, and whatever becomes of a member."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field
from tests.support.bounded import run, until

from netra_apex import (
    AgentRegistry,
    Assignment,
    BaseAgent,
    ChatAgent,
    Mission,
    Phase,
    Plan,
    Review,
    RunScope,
    Runtime,
    Settings,
    SystemMessage,
    Team,
    UserMessage,
    tool,
)
from netra_apex.core.conversations import Post
from netra_apex.core.events import AgentFailed, AgentStarted, AgentThinking, ToolExecuting, decode
from netra_apex.testing import Outcome, ScriptedModel, harness


class World:
    """What the members of a test's teams did, and where they wait for each other."""

    def __init__(self) -> None:
        self.told: list[Assignment] = []
        self.began: list[str] = []
        self.barrier = asyncio.Barrier(3)
        self.gates: dict[str, asyncio.Event] = {}

    async def gate(self, name: str) -> None:
        if name in self.gates:
            await self.gates[name].wait()


world: dict[str, World] = {}


class Contracts(BaseModel):
    """Of two parts."""

    left: str = Field(alias="leftPart")
    right: str


class Count(BaseModel):
    """How many."""

    count: int


class Coder(BaseAgent):
    """Answers with what it was told."""

    name = "coder"
    input_type = Assignment

    async def run(self, task: Assignment, scope: RunScope) -> Any:
        world["is"].told.append(task)
        world["is"].began.append(task.mission)
        await world["is"].gate(task.mission)
        return f"{task.mission} of {json.dumps(task.context, sort_keys=True)}"


class Meeting(Coder):
    """Ends once three of it are at work."""

    name = "meeting"

    async def run(self, task: Assignment, scope: RunScope) -> Any:
        await world["is"].barrier.wait()
        return await super().run(task, scope)


class Designer(BaseAgent):
    """Writes contracts."""

    name = "designer"

    async def run(self, task: str, scope: RunScope) -> Contracts:
        return Contracts(leftPart="l-contract", right="r-contract")


class Chatty(ChatAgent):
    """Asks the model."""

    name = "chatty"
    instructions = "Build it."


class Typed(ChatAgent):
    """Asks the model for a number."""

    name = "typed"
    output_type = Count
    max_turns = 2


class Critic(ChatAgent):
    """Reviews."""

    name = "critic"
    output_type = Review


class Failing(BaseAgent):
    """Fails."""

    name = "failing"

    async def run(self, task: str, scope: RunScope) -> str:
        raise LookupError("no such thing")


class Hanging(BaseAgent):
    """Never ends."""

    name = "hanging"
    timeout = 0.1

    async def run(self, task: str, scope: RunScope) -> str:
        await asyncio.Event().wait()
        return task


@tool
async def again(what: str) -> str:
    """Look again."""
    return what


class Looping(ChatAgent):
    """Calls its tool for ever."""

    name = "looping"
    tools = (again,)
    max_turns = 3


class Wrong(BaseAgent):
    """Answers with another type than it is asked for."""

    name = "wrong"

    async def run(self, task: str, scope: RunScope) -> Any:
        return {"count": "many"}


class Untrue(Wrong):
    """Answers with another type than it says itself."""

    name = "untrue"
    output_type: ClassVar[Any] = Count


class Guarded(Coder):
    """Needs a permission."""

    name = "guarded"
    requires = "gold:spend"


def mission(name: str, agent: type[BaseAgent], *context: str, **how: Any) -> Mission:
    return Mission(name, agent, how.pop("objective", f"Do {name}."), context=context, **how)


def team(*phases: list[Mission], **how: Any) -> type[Team]:
    named = tuple(Phase(f"phase{number}", tuple(missions)) for number, missions in enumerate(phases))
    return type("Crew", (Team,), {"name": "crew", "plan": Plan(goal="Get it done", phases=named, **how)})


def outcome(made: type[Team], *steps: Any, permissions: tuple[str, ...] = (), **settings: Any) -> Outcome:
    """What became of one request; the script must have been used up."""

    async def main() -> Outcome:
        world["is"] = World()
        script = steps[0] if steps and isinstance(steps[0], dict) else steps
        async with ScriptedModel(script) as model, harness(AgentRegistry([made]), model=model, **settings) as app:
            return await app.ask("the request", permissions=permissions)

    return run(main())


def reports(told: Outcome) -> dict[str, Any]:
    return {each["name"]: each for each in told.output["missions"]}


def thoughts(told: Outcome) -> list[str]:
    return [each.text for each in told.of(AgentThinking) if each.depth == 0]


def test_three_missions_that_wait_for_the_same_are_at_work_at_once() -> None:
    told = outcome(
        team(
            [mission("first", Coder)],
            [mission(name, Meeting, "first") for name in ("a", "b", "c")],
            [mission("last", Coder, "a", "b", "c")],
        )
    )
    assert told.output["percent"] == 100
    assert [len(each.context) for each in world["is"].told] == [0, 1, 1, 1, 3]
    opening, first, *between, last = thoughts(told)
    assert opening == "Get it done: 5 missions in 3 phases."
    assert first == "1 of 5 missions are done (20 %): first."
    assert [each.partition(":")[0] for each in between] == [
        "2 of 5 missions are done (40 %)",
        "3 of 5 missions are done (60 %)",
        "4 of 5 missions are done (80 %)",
    ]
    assert last == "5 of 5 missions are done (100 %): first, a, b, c, last."
    own = [each for each in told.events if each.depth == 0]
    begins = [number for number, each in enumerate(own) if isinstance(each, ToolExecuting)]
    assert own[begins[-1] - 1 : begins[-1]] == [each for each in own if getattr(each, "text", "") == between[-1]], (
        "none begins before what it waited for is told as done"
    )


def test_an_implementer_is_asked_its_objective_and_its_contract_and_nothing_else() -> None:
    made = team(
        [mission("design", Designer, deliverable=Contracts)],
        [mission("secret", Coder, "request", after=("design",)), mission("part", Chatty, "design.left", "size")],
        facts={"size": "small", "price": "a secret"},
    )

    async def main() -> list[Any]:
        world["is"] = World()
        async with (
            ScriptedModel(["done"]) as model,
            harness(AgentRegistry([made, Coder]), model=model) as app,
        ):
            first = await app.ask('{"mission": "x", "objective": "an earlier secret"}', agent="coder")
            told = await app.ask("the request", agent="crew", thread_id=first.thread_id)
            assert told.ok
            return [model.requests[0].messages, model.requests[0].tools]

    assert run(main()) == [
        (
            SystemMessage("Build it."),
            UserMessage("# Mission: part\n\nDo part.\n\n## design.left\n\nl-contract\n\n## size\n\nsmall"),
        ),
        (),
    ]


def test_a_mission_begins_when_what_it_waits_for_is_done_though_its_phase_is_not() -> None:
    made = team(
        [mission("slow", Coder), mission("quick", Coder)],
        [mission("next", Coder, "quick", after=())],
    )

    async def main() -> Outcome:
        world["is"] = World()
        world["is"].gates["slow"] = asyncio.Event()
        async with harness(AgentRegistry([made]), model=ScriptedModel([])) as app:
            accepted = await app.post("go")
            await until(lambda: "next" in world["is"].began)
            world["is"].gates["slow"].set()
            return await app.outcome("ada", accepted)

    assert run(main()).ok


def short(deliverable: str) -> str | None:
    return None if len(deliverable) < 10 else "it is too long"


def test_what_a_criterion_does_not_accept_is_tried_again_with_the_reason() -> None:
    made = team([mission("text", Chatty, criteria=(short,), attempts=3)])

    def second(request: Any) -> str:
        assert request.messages[-1].content.endswith("## What was wrong with the last attempt\n\n- it is too long.")
        return "short"

    told = outcome(made, "much too long", second)
    assert reports(told)["text"]["deliverable"] == "short"
    assert reports(told)["text"]["attempts"] == 2


def test_what_is_never_accepted_fails_with_the_last_reason() -> None:
    told = outcome(team([mission("text", Chatty, criteria=(short,), attempts=2)]), "much too long", "also too long")
    assert isinstance(told.events[-1], AgentFailed)
    assert told.events[-1].code == "agent_error"
    assert told.events[-1].message == (
        "0 of 1 missions are done (0 %); failed: text. text (chatty) failed after 2 attempts: it is too long."
    )


def test_a_reviewer_sees_the_deliverable_and_what_its_mission_was_shown() -> None:
    made = team([mission("text", Chatty, "request", reviewer=Critic, attempts=2)])

    def review(request: Any) -> str:
        assert request.messages[-1].content == (
            "# Mission: review of text\n\nReview the deliverable of a mission, which was: Do text.\n\n"
            "## request\n\nthe request\n\n## deliverable\n\nfirst"
        )
        return '{"accepted": false, "problems": ["no verb", "no noun."]}'

    def second(request: Any) -> str:
        assert request.messages[-1].content.endswith("- no verb.\n- no noun.")
        return "second"

    told = outcome(made, "first", review, second, '{"accepted": true}')
    assert reports(told)["text"]["deliverable"] == "second"


@pytest.mark.parametrize(
    ("reviewer", "answers", "reason"),
    [
        (Critic, ["x", '{"accepted": false}'], "critic did not accept it."),
        (Failing, ["x"], "it could not be reviewed: failing failed (agent_error): LookupError: no such thing."),
        (Coder, ["x"], "it could not be reviewed: coder answered otherwise: Invalid JSON"),
    ],
)
def test_what_was_not_reviewed_is_not_accepted(reviewer: type[BaseAgent], answers: list[str], reason: str) -> None:
    told = outcome(team([mission("text", Chatty, reviewer=reviewer)]), *answers)
    assert isinstance(told.events[-1], AgentFailed)
    assert f"text (chatty) failed: {reason}" in told.events[-1].message


NO_COUNT = "count: Input should be a valid integer, unable to parse string as an integer."
LOOPS = [("again", {"what": "x"})] * 3
BROKEN = {
    "hangs": (Hanging, [], "hanging failed (agent_timeout): hanging was active for longer than its time."),
    "fails": (Failing, [], "failing failed (agent_error): LookupError: no such thing."),
    "loops": (Looping, LOOPS, "looping failed (max_turns): the model gave no final answer in 3 turns."),
    "answers in another form": (
        Typed,
        ["none", "many"],
        (
            "typed failed (max_turns): the model gave no final answer in 2 turns; "
            "the last one was in a wrong form: Invalid JSON: expected value at line 1 column 1."
        ),
    ),
    "gives another type": (
        Wrong,
        [],
        f"it is not what was to be delivered: {NO_COUNT}",
    ),
    "gives another type than its own": (
        Untrue,
        [],
        f"untrue's output is not of its output_type: {NO_COUNT}",
    ),
    "may not": (Guarded, [], "delegate_guarded needs the permission gold:spend, which this user does not have."),
}


def timeless(sentence: str) -> str:
    """Without the seconds that a member had left."""
    return re.sub(r"0\.\d+ s\b", "its time", sentence)


def crew(agent: type[BaseAgent], **how: Any) -> type[Team]:
    """One mission whose agent does not what it should, one that waits for it, and two that do not."""
    return team(
        [mission("bad", agent, deliverable=str if agent is Looping else Count), mission("good", Coder)],
        [mission("behind", Coder, "bad"), mission("beside", Coder, "good", after=())],
        **how,
    )


@pytest.mark.parametrize("how", BROKEN)
def test_a_member_that_breaks_fails_the_run_which_says_why_and_what_it_blocks(how: str) -> None:
    agent, steps, reason = BROKEN[how]
    told = outcome(crew(agent), *steps)
    ending = told.events[-1]
    assert isinstance(ending, AgentFailed)
    sentence = f"bad ({agent.name}) failed: {reason} It blocks behind."
    assert timeless(ending.message) == f"2 of 4 missions are done (50 %); failed: bad. {sentence}"
    assert sentence in [timeless(each) for each in thoughts(told)]
    assert "| phase1 | behind | coder | blocked |  |" in thoughts(told)[-1]
    assert world["is"].began == ["good", "beside"], "what does not wait for it goes on"


@pytest.mark.parametrize("how", BROKEN)
def test_with_partial_the_run_completes_and_its_first_line_says_what_failed(how: str) -> None:
    agent, steps, reason = BROKEN[how]
    told = outcome(crew(agent, partial=True), *steps)
    assert told.output["percent"] == 50
    assert told.output["text"].splitlines()[2] == "2 of 4 missions are done (50 %); failed: bad."
    assert {name: each["status"] for name, each in reports(told).items()} == {
        "bad": "failed",
        "good": "done",
        "behind": "blocked",
        "beside": "done",
    }
    assert [timeless(each) for each in reports(told)["bad"]["problems"]] == [reason]
    assert reports(told)["behind"]["problems"] == ["bad is not done."]
    assert (reports(told)["bad"]["deliverable"], reports(told)["bad"]["attempts"]) == (None, 1)
    blocked = f"bad ({agent.name}) failed: {reason} It blocks behind."
    assert [timeless(each) for each in told.output["blockers"]] == [blocked]


def test_who_does_not_know_the_form_is_told_it_and_its_json_is_taken() -> None:
    def answer(request: Any) -> str:
        assert '"required": ["count"]' in request.messages[-1].content
        return '{"count": 3}'

    told = outcome(team([mission("number", Chatty, deliverable=Count)]), answer)
    assert reports(told)["number"]["deliverable"] == {"count": 3}


def broken(deliverable: Any) -> str | None:
    raise ZeroDivisionError("a criterion's own mistake")


def test_a_criterion_that_raises_ends_the_run_with_its_sentence() -> None:
    told = outcome(team([mission("text", Coder, criteria=(broken,))]))
    assert isinstance(told.events[-1], AgentFailed)
    assert told.events[-1].message == "ZeroDivisionError: a criterion's own mistake"


def test_a_file_is_shown_to_who_it_is_named_for_and_one_that_is_not_there_is_a_blocker(tmp_path: Path) -> None:
    (tmp_path / "style.md").write_text("Be brief.")
    files = {"style": tmp_path / "style.md", "gone": tmp_path / "gone.md", "large": tmp_path / "large"}
    (tmp_path / "large").write_bytes(b" " * (256 * 1024 + 1))
    made = team(
        [mission("a", Coder, "style"), mission("b", Coder, "style"), mission("c", Coder, "gone", "large", attempts=2)],
        files=files,
        partial=True,
    )
    told = outcome(made)
    assert [each.context for each in world["is"].told] == [{"style": "Be brief."}] * 2
    assert reports(told)["c"]["problems"] == [
        f"{files['gone']} cannot be read: [Errno 2] No such file or directory: '{files['gone']}'.",
        f"{files['large']} has 262145 bytes; 262144 is the most.",
    ]


class Uploader(BaseAgent):
    """Puts files into the thread, as its user could."""

    name = "uploader"

    async def run(self, task: str, scope: RunScope) -> str:
        for name, data in (("notes.txt", b"Ask Ada."), ("dot.bin", b"\xff"), ("long.txt", b" " * (256 * 1024 + 1))):
            await scope.store.files.save(name, "text/plain", data)
        return "done"


def test_the_files_of_the_thread_are_shown_to_who_is_to_see_them_and_to_no_other() -> None:
    outcome(team([mission("a", Uploader)], [mission("b", Coder, "attachments"), mission("c", Coder, "a")]))
    shown = {each.mission: each.context for each in world["is"].told}
    assert shown["c"] == {"a": "done"}
    assert shown["b"]["attachments"] == {
        "notes.txt": "Ask Ada.",
        "dot.bin": "(not shown: it is no text)",
        "long.txt": "(not shown: it has more than 262144 bytes)",
    }


def test_a_team_may_be_a_member_of_another_and_gives_its_report() -> None:
    inner = type("Inner", (team([mission("a", Coder, "request")]),), {"name": "inner"})
    told = outcome(team([mission("a", inner, "request")], [mission("b", Coder, "a.percent")]))
    assert reports(told)["a"]["deliverable"]["missions"][0]["status"] == "done"
    assert world["is"].told[-1].context == {"a.percent": 100}
    starts = [(each.agent, each.depth) for each in told.of(AgentStarted)]
    assert starts == [("crew", 0), ("inner", 1), ("coder", 2), ("coder", 1)]


@tool(needs_approval=True)
async def publish(what: str) -> str:
    """Publish."""
    world["is"].began.append(f"published {what}")
    return what


class Publisher(BaseAgent):
    """Publishes."""

    name = "publisher"

    async def run(self, task: str, scope: RunScope) -> str:
        return await scope.tools.call(publish, "it")


def test_a_mission_may_wait_for_a_person_while_the_others_go_on() -> None:
    made = team([mission("a", Publisher), mission("b", Coder)], [mission("c", Coder, "a", "b")])

    async def main() -> Outcome:
        world["is"] = World()
        async with harness(AgentRegistry([made]), model=ScriptedModel([])) as app:
            accepted = await app.post("go")
            stores = app.runtime.stores
            while "waiting" not in str(await stores.runs.run("ada", accepted.run_id)):  # noqa: ASYNC110 - as in `until`
                await asyncio.sleep(0)
            assert world["is"].began == ["b"]
            (asked,) = (await stores.approvals.pending("ada", limit=2, cursor=None)).items
            await app.runtime.house.decide("ada", asked.approval_id, "approve", None)
            return await app.outcome("ada", accepted)

    assert run(main()).output["percent"] == 100
    assert world["is"].began == ["b", "published it", "c"], "nothing was done twice"


def test_two_users_of_one_team_see_nothing_of_each_other() -> None:
    made = team([mission("a", Coder, "request")], [mission("b", Coder, "a")])

    async def main() -> list[Outcome]:
        world["is"] = World()
        world["is"].gates["a"] = asyncio.Event()
        async with harness(AgentRegistry([made]), model=ScriptedModel([])) as app:
            posted = [(user, await app.post(f"of {user}", user=user)) for user in ("ada", "bob")]
            await until(lambda: world["is"].began == ["a", "a"])
            world["is"].gates["a"].set()
            return [await app.outcome(user, accepted) for user, accepted in posted]

    ada, bob = run(main())
    assert "of ada" in ada.output["missions"][1]["deliverable"]
    assert "of bob" in bob.output["missions"][1]["deliverable"]
    assert "of bob" not in str(ada.output)
    assert "of ada" not in str(bob.output)


CHAINS = team(
    [mission("a1", Coder), mission("b1", Coder)],
    [mission("a2", Coder, "a1", after=()), mission("b2", Coder, "b1", after=())],
    [mission("end", Coder, "a2", "b2")],
)


async def follow(process: Runtime, run_id: str) -> list[Any]:
    return [decode(body) async for seq, body in process.reader.follow("ada", run_id, 0) if seq is not None]


@pytest.mark.parametrize(
    ("first", "held"), [(["b1"], ["a1", "b2"]), (["b1", "a1"], ["b2", "a2"]), (["b1", "b2"], ["a1"])]
)
@pytest.mark.parametrize("then", [["a1", "a2", "b1", "b2", "end"], ["b1", "b2", "a1", "a2", "end"]])
def test_missions_that_begin_in_another_order_after_a_restart_are_the_same_steps(
    tmp_path: Path, first: list[str], held: list[str], then: list[str]
) -> None:
    async def life(body: Callable[[Runtime], Any]) -> Any:
        world["is"] = World()
        world["is"].gates = {name: asyncio.Event() for name in ("a1", "a2", "b1", "b2", "end")}
        settings = Settings(home=tmp_path, drain_seconds=0.01)
        async with Runtime(AgentRegistry([CHAINS]), settings, model=ScriptedModel([])) as process:
            return await body(process)

    async def left(process: Runtime) -> str:
        accepted = await process.admission.post("ada", frozenset(), Post(content="go"))
        for name in first:
            await until(lambda name=name: name in world["is"].began)
            world["is"].gates[name].set()
        await until(lambda: set(held) <= set(world["is"].began))
        return accepted.run_id

    async def main() -> tuple[list[Any], list[str]]:
        run_id = await life(left)

        async def taken_up(process: Runtime) -> list[Any]:
            for name in then:
                world["is"].gates[name].set()
                if name not in first:
                    await until(lambda name=name: name in world["is"].began)
            return await follow(process, run_id)

        return await life(taken_up), world["is"].began

    events, began = run(main())
    assert getattr(events[-1], "output", events[-1])["percent"] == 100
    assert sorted(began) == sorted({"a1", "a2", "b1", "b2", "end"} - set(first))
    assert sum(isinstance(each, ToolExecuting) for each in events) == 5
