"""What came of a team's plan: how each mission ended, how far the plan is, and what is in the way."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from netra_apex.agents.plan import Plan


class MissionReport(BaseModel):
    """How one mission ended. A blocked one never began, as one that it waits for was not done."""

    model_config = ConfigDict(frozen=True)

    name: str
    agent: str
    phase: str
    status: Literal["done", "failed", "blocked"]
    deliverable: Any = None
    problems: tuple[str, ...] = ()
    attempts: int = 0


class TeamReport(BaseModel):
    """What a team gives: each mission with its deliverable as JSON, how many per cent are done, what is in the way.

    `text` says the same in Markdown, of the deliverables only those that no finished mission was waiting for: what
    the team was for, without what it made on the way.
    """

    model_config = ConfigDict(frozen=True)

    goal: str
    percent: int
    missions: tuple[MissionReport, ...]
    blockers: tuple[str, ...] = ()
    text: str = ""

    @property
    def headline(self) -> str:
        """The first line: how much is done, and what failed."""
        done = sum(each.status == "done" for each in self.missions)
        failed = [each.name for each in self.missions if each.status == "failed"]
        said = progress(done, len(self.missions))
        return f"{said}; failed: {', '.join(failed)}." if failed else f"{said}."


def percent(done: int, missions: int) -> int:
    """Rounded; a half is rounded up."""
    return (200 * done + missions) // (2 * missions)


def progress(done: int, missions: int) -> str:
    """How far it is, for people."""
    return f"{done} of {missions} missions are done ({percent(done, missions)} %)"


def blocker(plan: Plan, failed: MissionReport) -> str:
    """A failed mission, why, and which others cannot begin for it."""
    times = f" after {failed.attempts} attempts" if failed.attempts > 1 else ""
    said = f"{failed.name} ({failed.agent}) failed{times}: {' '.join(failed.problems)}"
    behind = plan.behind(failed.name)
    return f"{said} It blocks {', '.join(behind)}." if behind else said


def report_of(plan: Plan, ended: Mapping[str, MissionReport]) -> TeamReport:
    """The report on a plan all of whose missions have ended, by name."""
    missions = tuple(ended[mission.name] for mission in plan.missions)
    report = TeamReport(
        goal=plan.goal,
        percent=percent(sum(each.status == "done" for each in missions), len(missions)),
        missions=missions,
        blockers=tuple(blocker(plan, each) for each in missions if each.status == "failed"),
    )
    done = [each for each in missions if each.status == "done"]
    used = {name for each in done for name in plan.waits[each.name]}
    return report.model_copy(update={"text": _markdown(report, [each for each in done if each.name not in used])})


def _markdown(report: TeamReport, last: Sequence[MissionReport]) -> str:
    lines = [f"# {report.goal}", "", report.headline, "", "| phase | mission | agent | status | attempts |"]
    lines.append("|---|---|---|---|---|")
    lines += [
        f"| {each.phase} | {each.name} | {each.agent} | {each.status} | {each.attempts or ''} |"
        for each in report.missions
    ]
    if report.blockers:
        lines += ["", "## Blockers", "", *(f"- {each}" for each in report.blockers)]
    for each in last:
        lines += ["", f"## {each.name}", "", _told(each.deliverable)]
    return "\n".join(lines)


def _told(deliverable: Any) -> str:
    """A text as it is, anything else as JSON that people can read."""
    if isinstance(deliverable, str):
        return deliverable
    return f"```json\n{json.dumps(deliverable, ensure_ascii=False, indent=2)}\n```"
