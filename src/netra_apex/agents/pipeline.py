"""`AdaptivePipeline`: members in order, as many of them as what there is to work with allows."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from netra_apex.agents.base import BaseAgent
from netra_apex.agents.supervisor import SupervisorAgent
from netra_apex.core.scope import RunScope
from netra_apex.errors import AgentFailed


class Sufficiency(StrEnum):
    """Whether there is enough to work with."""

    SUFFICIENT = "sufficient"
    PARTIAL = "partial"
    INSUFFICIENT = "insufficient"


class DataPlan(BaseModel):
    """What a planner returns; a subclass may say more, which other members can be given."""

    model_config = ConfigDict(frozen=True)

    sufficiency: Sufficiency
    reason: str = ""


class Material(BaseModel):
    """What the report is made of: what was asked, the plan, what members found, and why others found nothing."""

    model_config = ConfigDict(frozen=True)

    asked: Any
    plan: Any = None
    found: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    missing: Mapping[str, str] = Field(default_factory=dict[str, str])


class AdaptivePipeline(SupervisorAgent):
    """A supervisor whose planner says which members run; the report is always the last.

    `planner` is asked first and returns a `DataPlan`. Sufficient: all `steps` run, one after another. Partial: the
    `inquirer`, who asks the user for what is missing, and then the steps. Insufficient: the inquirer alone. Whatever
    has come of it, `report` gets it, and makes the answer. A planner that fails counts as insufficient.

    `task_for` says what each member is handed; left as it is, that is the user's text, with what members before it
    have found where `needs` names them. A member that fails, or for which there is nothing, is told to the report as
    missing, and the others go on. Where the report fails, the run does.
    """

    planner: ClassVar[type[BaseAgent]]
    steps: ClassVar[tuple[type[BaseAgent], ...]] = ()
    inquirer: ClassVar[type[BaseAgent] | None] = None
    report: ClassVar[type[BaseAgent]]
    needs: ClassVar[Mapping[str, tuple[str, ...]]] = MappingProxyType({})

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "members" not in vars(cls) and hasattr(cls, "planner") and hasattr(cls, "report"):
            asking = () if cls.inquirer is None else (cls.inquirer,)
            cls.members = (cls.planner, *asking, *cls.steps, cls.report)

    async def run(self, task: Any, scope: RunScope) -> Any:
        """Plans, has the members work, and returns what the report says.

        Raises:
            AgentFailed: the report failed.
        """
        await scope.think("Looking at what there is to work with.")
        material = _planned(await self._hand(self.planner, Material(asked=task), scope), self.planner)
        plan: DataPlan = material.plan
        await scope.think(f"The data is {plan.sufficiency}{f': {plan.reason}' if plan.reason else '.'}")
        for member in self._chosen(plan.sufficiency):
            material = await self._hand(member, material, scope)
        done = await scope.delegate(self.report, self.task_for(self.report, material))
        if not done.ok:
            assert done.error is not None
            raise AgentFailed(f"no report could be made: {done.error.message}")
        return done.output

    def task_for(self, member: type[BaseAgent], material: Material) -> Any:
        """What this member is handed; None where there is nothing for it to work with, so that it does not run."""
        if member.input_type is Material:
            return material
        return material.model_dump_json() if member is self.report else material.asked

    def _chosen(self, sufficiency: Sufficiency) -> tuple[type[BaseAgent], ...]:
        asking = () if self.inquirer is None else (self.inquirer,)
        match sufficiency:
            case Sufficiency.SUFFICIENT:
                return self.steps
            case Sufficiency.PARTIAL:
                return (*asking, *self.steps)
            case Sufficiency.INSUFFICIENT:
                return asking

    async def _hand(self, member: type[BaseAgent], material: Material, scope: RunScope) -> Material:
        """What is known after this member."""
        lacking = [name for name in self.needs.get(member.name, ()) if name not in material.found]
        task = None if lacking else self.task_for(member, material)
        if task is None:
            why = f"there was nothing from {' and '.join(lacking)}" if lacking else "there was nothing to work with"
            return _without(material, member, why)
        result = await scope.delegate(member, task, share=self.needs.get(member.name, ()))
        if not result.ok:
            assert result.error is not None
            return _without(material, member, result.error.message)
        return material.model_copy(update={"found": {**material.found, member.name: result.output}})


def _planned(material: Material, planner: type[BaseAgent]) -> Material:
    """With the plan that the planner returned, or, where it returned none, with one that expects nothing."""
    insufficient = DataPlan(sufficiency=Sufficiency.INSUFFICIENT, reason="it could not be looked at")
    if planner.name not in material.found:
        return material.model_copy(update={"plan": insufficient})
    said = material.found[planner.name]
    try:
        plan = said if isinstance(said, DataPlan) else DataPlan.model_validate(said)
    except ValidationError:
        lacking = _without(material, planner, f"what it returned is no plan: {said!r:.200}")
        return lacking.model_copy(update={"plan": insufficient})
    return material.model_copy(update={"plan": plan})


def _without(material: Material, member: type[BaseAgent], why: str) -> Material:
    return material.model_copy(update={"missing": {**material.missing, member.name: why}})
