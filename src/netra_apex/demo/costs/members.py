"""The members of the cost team, in the order in which they work."""

import re
from typing import Any, ClassVar, Literal

from netra_apex.agents import BaseAgent, DataPlan, Sufficiency
from netra_apex.core.scope import RunScope
from netra_apex.demo.costs.analyst import Analyst
from netra_apex.demo.costs.measuring import costs_of, duplicates_of, spreads_of
from netra_apex.demo.costs.report import CostMaterial, report_of
from netra_apex.demo.costs.saving import actions_from, caching, cheaper_models, shorter_prompts
from netra_apex.demo.costs.sources import SAMPLE, chosen, files_seen, opened
from netra_apex.demo.costs.values import (
    Actions,
    Answered,
    Assignment,
    Costs,
    Duplicates,
    FileSeen,
    Measured,
    Optimised,
    Ranking,
    Savings,
    Source,
    Spreads,
)
from netra_apex.errors import CallFailed, Invalid, TooLarge
from netra_apex.tools import ask_user, tool

NEEDED = (
    "Attach a CSV file with AI usage to this thread (OpenAI's usage export, Anthropic's Console usage export, or"
    " LiteLLM's spend logs)"
)
ADVICE = f"{NEEDED} and ask again, or ask for an analysis of the sample."
QUESTION = f"There is no usage to analyse yet. {NEEDED} and answer “done”, or answer “sample” for made-up data."


class CostPlan(DataPlan):
    """What triage found: what is analysed, and all that was looked at."""

    source: Source | None = None
    files: tuple[FileSeen, ...] = ()


class Triage(Analyst):
    """Looks at what there is to analyse, and says whether it is enough."""

    name = "triage"
    output_type: ClassVar[Any] = CostPlan

    async def run(self, task: str, scope: RunScope) -> CostPlan:
        """Decides by what the files are."""

        @tool(idempotent=True)
        async def look_at_files() -> tuple[FileSeen, ...]:
            """Look at the tables in this thread: what each is, or why it cannot be analysed."""
            return await files_seen(scope)

        found = await self.consult("Call `look_at_files`.", task, scope, (look_at_files,))
        files = tuple(FileSeen.model_validate(each) for each in found["look_at_files"])
        source = chosen(files, task)
        # A file that is there is what is meant, unless the sample is asked for in so many words.
        if re.search(r"\bsample\b" if source is None else r"\bthe sample\b", task, re.IGNORECASE):
            return _plan(Sufficiency.SUFFICIENT, "the sample is asked for; it is made up", SAMPLE, files)
        if source is not None:
            kind = next(file.kind for file in files if file.file_id == source.file_id)
            return _plan(Sufficiency.SUFFICIENT, f"{source.name} is read as {kind}", source, files)
        if files:
            return _plan(Sufficiency.INSUFFICIENT, _problem(files[-1]), None, files)
        return _plan(Sufficiency.PARTIAL, "there is no usage export in this thread", None, files)


class Inquirer(BaseAgent):
    """Asks the user for a usage export, or whether the sample will do."""

    name = "inquirer"
    input_type: ClassVar[Any] = CostPlan
    output_type: ClassVar[Any] = Answered

    async def run(self, task: CostPlan, scope: RunScope) -> Answered:
        """Asks only where an answer helps: a file that cannot be read has to be made anew first."""
        if task.sufficiency is Sufficiency.INSUFFICIENT:
            return Answered(advice=ADVICE)
        said = await scope.tools.call(ask_user, QUESTION)
        if "sample" in said.lower():
            return Answered(source=SAMPLE, said=said)
        files = await files_seen(scope)
        source = chosen(files, said)
        if source is not None:
            return Answered(source=source, said=said)
        return Answered(said=said, problem=_problem(files[-1]) if files else "", advice=ADVICE)


class Data(Analyst):
    """Measures what was spent: by model, time and feature, its spread, what stands out, and what comes again."""

    name = "data"
    input_type: ClassVar[Any] = Assignment
    output_type: ClassVar[Any] = Measured

    async def run(self, task: Assignment, scope: RunScope) -> Measured:
        """Measures with three tools."""
        usage = opened(task.source)

        @tool(idempotent=True)
        async def measure_costs() -> Costs:
            """Measure what was spent: in all, by model, by feature and by day."""
            return await usage.ask(scope, costs_of)

        @tool(idempotent=True)
        async def measure_spread() -> Spreads:
            """Measure percentiles of cost, tokens and latency, find what stands out, and when most is spent."""
            return await usage.ask(scope, spreads_of)

        @tool(idempotent=True)
        async def find_duplicates() -> Duplicates:
            """Find prompts that came again, and what that cost."""
            return await usage.ask(scope, duplicates_of)

        instructions = "Call `measure_costs`, `measure_spread` and `find_duplicates`, all at once."
        found = await self.consult(instructions, task.asked, scope, (measure_costs, measure_spread, find_duplicates))
        return Measured(
            costs=found.get("measure_costs"),
            spreads=found.get("measure_spread"),
            duplicates=found.get("find_duplicates"),
        )


class Optimisation(Analyst):
    """Computes what could be saved: by smaller models, caches and shorter prompts."""

    name = "optimisation"
    input_type: ClassVar[Any] = Assignment
    output_type: ClassVar[Any] = Optimised

    async def run(self, task: Assignment, scope: RunScope) -> Optimised:
        """Computes with three tools."""
        usage = opened(task.source)

        @tool(idempotent=True)
        async def try_smaller_models() -> Savings:
            """Compute what the next smaller model of the same maker would save."""
            return await usage.ask(scope, cheaper_models)

        @tool(idempotent=True)
        async def try_caching() -> Savings:
            """Compute what caching answers, and the repeated beginning of prompts, would save."""
            return await usage.ask(scope, caching)

        @tool(idempotent=True)
        async def try_shorter_prompts() -> Savings:
            """Compute what cutting the longest prompts would save."""
            return await usage.ask(scope, shorter_prompts)

        instructions = "Call `try_smaller_models`, `try_caching` and `try_shorter_prompts`, all at once."
        tools = (try_smaller_models, try_caching, try_shorter_prompts)
        found = await self.consult(instructions, task.asked, scope, tools)
        return Optimised(
            models=found.get("try_smaller_models"),
            caching=found.get("try_caching"),
            prompts=found.get("try_shorter_prompts"),
        )


class Advice(Analyst):
    """Ranks what to do by what it saves, with its effort and risk."""

    name = "actions"
    input_type: ClassVar[Any] = Ranking
    output_type: ClassVar[Any] = Actions

    async def run(self, task: Ranking, scope: RunScope) -> Actions:
        """Ranks with one tool."""
        found = task.optimised
        savings = tuple(each for each in (found.models, found.caching, found.prompts) if each is not None)

        @tool(idempotent=True)
        async def rank_actions(order: Literal["saving", "effort"] = "saving") -> Actions:
            """Rank what to do: the largest saving first, or the least effort."""
            return actions_from(savings, order=order)

        given = await self.consult("Call `rank_actions`.", task.asked, scope, (rank_actions,))
        return Actions.model_validate(given["rank_actions"])


class Reporter(Analyst):
    """Writes the report, from what the others found and what is missing."""

    name = "report"
    input_type: ClassVar[Any] = CostMaterial

    async def run(self, task: CostMaterial, scope: RunScope) -> str:
        """Has the report written by a tool, to which the model can add a remark, and keeps it in the thread."""

        @tool(idempotent=True)
        async def write_report(remark: str = "") -> str:
            """Write the report. `remark` is prose before it, in two sentences at most and without figures."""
            return report_of(task, remark)

        found = await self.consult("Call `write_report`, once.", task.asked, scope, (write_report,))
        report = str(found["write_report"])
        name = f"ai-costs-{scope.context.run_id[-6:]}.md"
        try:
            await scope.store.files.save(name, "text/markdown", report.encode())
        except (Invalid, TooLarge, CallFailed) as error:
            return f"{report}\n\nThe report was not kept as a file: {error}"
        return f"{report}\n\nThis report is kept in the thread as `{name}`."


def _problem(file: FileSeen) -> str:
    return f"{file.name}: {file.problem}"


def _plan(sufficiency: Sufficiency, reason: str, source: Source | None, files: tuple[FileSeen, ...]) -> CostPlan:
    return CostPlan(sufficiency=sufficiency, reason=reason, source=source, files=files)
