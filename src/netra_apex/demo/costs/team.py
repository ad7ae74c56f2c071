"""`CostAnalysis`: triage, data, optimisation, actions, report."""

from typing import Any

from netra_apex.agents import AdaptivePipeline, BaseAgent, Material
from netra_apex.core.scope import RunScope
from netra_apex.demo.costs.members import Advice, Data, Inquirer, Optimisation, Reporter, Triage
from netra_apex.demo.costs.report import CostMaterial
from netra_apex.demo.costs.sources import shelf
from netra_apex.demo.costs.values import Answered, Assignment, Ranking, Source


class CostAnalysis(AdaptivePipeline):
    """Analyze costs and spending from an uploaded usage export, with savings, as a report."""

    name = "cost-analysis"
    planner = Triage
    steps = (Data, Optimisation, Advice)
    inquirer = Inquirer
    report = Reporter

    async def run(self, task: Any, scope: RunScope) -> Any:
        """As any pipeline; the members open the usage once."""
        with shelf():
            return await super().run(task, scope)

    def task_for(self, member: type[BaseAgent], material: Material) -> Any:
        """Each is given what it works on: no member but the report sees what the others have found."""
        source = _source(material)
        if member is Triage:
            return str(material.asked)
        if member is Inquirer:
            return material.plan
        if member is Advice:
            optimised = material.found.get(Optimisation.name)
            return None if optimised is None else Ranking(asked=str(material.asked), optimised=optimised)
        if member is Reporter:
            found = material.found
            answered: Answered = found.get(Inquirer.name) or Answered()
            return CostMaterial(
                asked=str(material.asked),
                reason=answered.problem or material.plan.reason,
                source=source,
                said=answered.said,
                advice=answered.advice,
                measured=found.get(Data.name),
                optimised=found.get(Optimisation.name),
                actions=found.get(Advice.name),
                missing=dict(material.missing),
            )
        return None if source is None else Assignment(asked=str(material.asked), source=source)


def _source(material: Material) -> Source | None:
    """What triage found, or the user named when he was asked."""
    planned: Source | None = getattr(material.plan, "source", None)
    answered = material.found.get(Inquirer.name)
    return planned if planned is not None or answered is None else answered.source
