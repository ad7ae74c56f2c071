"""`Team`: carries out a declared plan, each mission by its agent, which sees what the plan shows it and no more."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from netra_apex.agents.assignment import Assignment, Review, form_for, received
from netra_apex.agents.base import BaseAgent
from netra_apex.agents.chat import text_of
from netra_apex.agents.plan import ATTACHMENTS, REQUEST, Criterion, Mission, Plan
from netra_apex.agents.plan_toml import PlanFile
from netra_apex.agents.report import MissionReport, TeamReport, blocker, progress, report_of
from netra_apex.agents.supervisor import SupervisorAgent
from netra_apex.core.scope import RunScope
from netra_apex.errors import AgentFailed, PlanError
from netra_apex.tools.validation import problem_of

MOST_BYTES = 256 * 1024  # of a file that a mission is shown: it is part of what a model is asked
TOO_LONG = f"(not shown: it has more than {MOST_BYTES} bytes)"


class Team(SupervisorAgent):
    """A supervisor that carries out its `plan`.

    A mission begins as soon as those that it waits for are done, side by side with all others that can. What it
    delivers is validated, checked and reviewed as the plan says, and from then on a value that does not change. One
    that fails blocks those that wait for it, and the others go on. The output is a `TeamReport`; where a mission
    failed, the run fails with its blockers, unless the plan is `partial`.
    """

    plan: ClassVar[Plan]
    # Of all its missions, of which each has its agent's own time.
    timeout: ClassVar[float | None] = 3600.0
    output_type: ClassVar[Any] = TeamReport

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        plan: object = cls.__dict__.get("plan")
        if plan is None:
            return
        if not isinstance(plan, Plan):
            raise PlanError(cls.__qualname__, f"its plan is a {type(plan).__name__}, not a Plan")
        cls.members = plan.agents

    @classmethod
    def from_toml(
        cls,
        path: Path | str,
        *,
        agents: Sequence[type[BaseAgent]] = (),
        types: Sequence[Any] = (),
        criteria: Sequence[Criterion] = (),
    ) -> type[Self]:
        """A team of its own, as a file describes it. The file may name these agents, types and criteria.

        Raises:
            PlanError: it cannot be read, is no team, or its plan cannot be carried out; with the key.
        """
        read = PlanFile(Path(path), agents, types, criteria).team()
        return cast(
            "type[Self]",
            type(cls)(read.name, (cls,), {"__doc__": read.description, "name": read.name, "plan": read.plan}),
        )

    async def run(self, task: Any, scope: RunScope) -> TeamReport:
        """Carries out the plan for this request.

        Raises:
            AgentFailed: a mission failed, and the plan is not `partial`.
        """
        missions = self.plan.missions
        await scope.think(f"{self.plan.goal}: {len(missions)} missions in {len(self.plan.phases)} phases.")
        report = report_of(self.plan, await _Work(self.name, self.plan, text_of(task), scope).carry_out())
        if report.blockers and not self.plan.partial:
            await scope.think(report.text)
            raise AgentFailed(" ".join((report.headline, *report.blockers)))
        return report


class _Work:
    """The plan in one run: its missions under way, and what has come of them."""

    def __init__(self, team: str, plan: Plan, request: str, scope: RunScope) -> None:
        self._team = team
        self._plan = plan
        self._request = request
        self._scope = scope
        self._missions: dict[str, asyncio.Task[MissionReport]] = {}
        self._ended: asyncio.Queue[MissionReport] = asyncio.Queue()
        self._told = {mission.name: asyncio.Event() for mission in plan.missions}

    async def carry_out(self) -> dict[str, MissionReport]:
        """How each mission ended, by name."""
        try:
            async with asyncio.TaskGroup() as group:
                for mission in self._plan.missions:
                    self._missions[mission.name] = group.create_task(self._mission(mission))
                await self._tell_progress()
        except ExceptionGroup as failed:
            # No member's failure comes so far: any of them says why the run must end.
            raise failed.exceptions[0] from failed
        return {name: task.result() for name, task in self._missions.items()}

    async def _tell_progress(self) -> None:
        """Tells each time that one more is done.

        The thought of a number is always the same step of the run, so that a run that is taken up tells none twice,
        also where missions end in another order then.
        """
        done: list[str] = []
        missions = self._plan.missions
        for _ in missions:
            ended = await self._ended.get()
            if ended.status == "done":
                done.append(ended.name)
                names = ", ".join(mission.name for mission in missions if mission.name in done)
                await self._scope.think(f"{progress(len(done), len(missions))}: {names}.")
            self._told[ended.name].set()

    async def _mission(self, mission: Mission) -> MissionReport:
        # The first step of its task, taken in the plan's order: in whichever order missions can begin when the run is
        # taken up, the steps of each have the keys that they had.
        await self._scope.step(f"{self._team}: {mission.name}", _nothing)
        waits = [await self._missions[name] for name in self._plan.waits[mission.name]]
        undone = tuple(f"{each.name} is not done." for each in waits if each.status != "done")
        report = MissionReport(
            name=mission.name,
            agent=mission.agent.name,
            phase=self._plan.phase_of(mission.name),
            status="blocked",
            problems=undone,
        )
        if not undone:
            report = await self._carried_out(mission, report)
        self._ended.put_nowait(report)
        # Those that wait for it begin when it is told: nobody is to read of a begin before what it waited for.
        await self._told[mission.name].wait()
        return report

    async def _carried_out(self, mission: Mission, report: MissionReport) -> MissionReport:
        shown, problems = await self._shown(mission)
        attempts = 0
        while not (problems and attempts == 0) and attempts < mission.attempts:
            attempts += 1
            deliverable, problems = await self._attempt(mission, shown, problems)
            if not problems:
                # As JSON from here on: nobody who is shown it can change it for another.
                plain = to_jsonable_python(deliverable, by_alias=False)
                return report.model_copy(update={"status": "done", "deliverable": plain, "attempts": attempts})
        failed = report.model_copy(update={"status": "failed", "problems": problems, "attempts": attempts})
        await self._scope.think(blocker(self._plan, failed))
        return failed

    async def _attempt(
        self, mission: Mission, shown: dict[str, Any], problems: tuple[str, ...]
    ) -> tuple[Any, tuple[str, ...]]:
        """(what was delivered, what is wrong with it)."""
        assignment = Assignment(
            mission=mission.name,
            objective=mission.objective,
            context=shown,
            form=form_for(mission.agent, mission.deliverable),
            problems=problems,
        )
        result = await self._scope.delegate(mission.agent, assignment.as_task_of(mission.agent))
        if not result.ok:
            return None, _sentences(result.error.message if result.error else "it failed")
        try:
            deliverable = received(mission.deliverable, result.output)
        except ValidationError as error:
            return None, _sentences(f"it is not what was to be delivered: {problem_of(error)}")
        found = [criterion(deliverable) for criterion in mission.criteria]
        wrong = _sentences(*filter(None, found))
        if not wrong and mission.reviewer is not None:
            wrong = await self._review(mission, shown, deliverable)
        return deliverable, wrong

    async def _review(self, mission: Mission, shown: dict[str, Any], deliverable: Any) -> tuple[str, ...]:
        """What the reviewer does not accept. What could not be reviewed is not accepted either."""
        reviewer = mission.reviewer
        assert reviewer is not None
        assignment = Assignment(
            mission=f"review of {mission.name}",
            objective=f"Review the deliverable of a mission, which was: {mission.objective}",
            context={**shown, "deliverable": to_jsonable_python(deliverable, by_alias=False)},
            form=form_for(reviewer, Review),
        )
        result = await self._scope.delegate(reviewer, assignment.as_task_of(reviewer))
        if not result.ok:
            return _sentences(f"it could not be reviewed: {result.error.message if result.error else ''}")
        try:
            review: Review = received(Review, result.output)
        except ValidationError as error:
            return _sentences(f"it could not be reviewed: {reviewer.name} answered otherwise: {problem_of(error)}")
        if review.accepted:
            return ()
        return _sentences(*review.problems) or _sentences(f"{reviewer.name} did not accept it")

    async def _shown(self, mission: Mission) -> tuple[dict[str, Any], tuple[str, ...]]:
        """(all that the mission is shown, what of it is not there)."""
        plain: dict[str, Any] = {REQUEST: self._request, **dict(self._plan.facts)}
        files = dict(self._plan.files)
        shown: dict[str, Any] = {}
        problems: list[str] = []
        for name in mission.context:
            first, *fields = name.split(".")
            if first in files:
                # Once per run, also where it is changed before the run is taken up.
                read = await self._scope.step(f"file {files[first]}", _read, files[first])
                shown[name] = read["text"]
                problems += filter(None, [read["problem"]])
            elif first == ATTACHMENTS:
                shown[name] = await self._attachments()
            elif first in self._missions:
                shown[name] = _part(self._missions[first].result().deliverable, fields)
            else:
                shown[name] = plain[first]
        return shown, _sentences(*problems)

    async def _attachments(self) -> dict[str, str]:
        """The texts of the thread's files by name. They never change, so that a run that is taken up reads the same."""
        files = self._scope.store.files
        return {
            file.name: _text_in(await files.read(file.file_id)) if file.size <= MOST_BYTES else TOO_LONG
            for file in await files.list()
        }


def _text_in(data: bytes) -> str:
    """What a mission is shown of an uploaded file."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "(not shown: it is no text)"


async def _nothing() -> None:
    pass


async def _read(path: Path) -> dict[str, str]:
    try:
        content = await asyncio.to_thread(path.read_bytes)
        if len(content) > MOST_BYTES:
            return {"text": "", "problem": f"{path} has {len(content)} bytes; {MOST_BYTES} is the most"}
        return {"text": content.decode(), "problem": ""}
    except (OSError, UnicodeDecodeError) as error:
        return {"text": "", "problem": f"{path} cannot be read: {error}"}


def _part(deliverable: Any, fields: list[str]) -> Any:
    # The plan has been checked: each is a field of a pydantic model.
    for field in fields:
        deliverable = deliverable[field]
    return deliverable


def _sentences(*said: str) -> tuple[str, ...]:
    """Each with a full stop."""
    return tuple(each if each.endswith((".", "!", "?")) else f"{each}." for each in said)
