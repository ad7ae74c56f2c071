"""Handing work to a member: each is a tool of its supervisor's, `delegate_<name>`, and goes through its dispatcher."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import msgspec
from pydantic_core import to_jsonable_python

from netra_apex.agents import BaseAgent, description_of
from netra_apex.core.scope import RunScope
from netra_apex.tools import Tool
from netra_apex.tools.schema import Signature, read_signature, signature_of_type
from netra_apex.tools.validation import adapter_of

NO_TIMEOUT = 10.0 * 365 * 24 * 3600  # the member has a time-out of its own, which is told as its ending
PREFIX = "delegate_"


class Delegating(RunScope):
    """The scope of a call that hands work to a member."""

    @abstractmethod
    async def hand(self, member: type[BaseAgent], task: Any, share: tuple[str, ...]) -> Any:
        """Has the member do it, and returns its output.

        Raises:
            CallFailed: it did not, and why.
        """


@dataclass(frozen=True, eq=False, kw_only=True, slots=True)
class MemberTool(Tool[..., Any]):
    """A member of a supervisor, as a tool that takes the member's task."""

    member: type[BaseAgent]

    def arguments(self, task: Any) -> Mapping[str, Any]:
        """What an agent's code passes for this task.

        Raises:
            TypeError: the task is not what the member takes.
        """
        if self.member.input_type is None:
            if not isinstance(task, str):
                raise TypeError(f"{self.member.name} takes a text as its task, not {type(task).__name__}")
            return {"task": task}
        plain: object = to_jsonable_python(task)
        if not isinstance(plain, Mapping):
            raise TypeError(f"{self.member.name} takes {self.member.input_type}, not {type(task).__name__}")
        return cast("Mapping[str, Any]", plain)


# Keyed by classes and names alone, which are code and no user's: reading a signature costs milliseconds.
@lru_cache(maxsize=1024)
def member_tool(member: type[BaseAgent], share: tuple[str, ...]) -> MemberTool:
    """The tool that hands work to this member, who is shown what `share` names besides it."""

    async def delegate(task: str, *, scope: RunScope) -> Any:
        assert isinstance(scope, Delegating)
        return await scope.hand(member, task, share)

    delegate.__name__ = f"{PREFIX}{member.name}"
    return MemberTool(
        name=delegate.__name__,
        description=description_of(member),
        function=delegate,
        signature=_signature(delegate, member),
        is_async=True,
        requires=member.requires,
        timeout=NO_TIMEOUT,
        # What its member has done is in the journal step by step, and is not done again.
        idempotent=True,
        member=member,
    )


def _signature(delegate: Any, member: type[BaseAgent]) -> Signature:
    if member.input_type is None:
        return read_signature(delegate)
    return signature_of_type(delegate.__name__, member.input_type, into="task", scope="scope")


def typed(member: type[BaseAgent], output: Any) -> Any:
    """A member's output, which is JSON, as the type that it declares."""
    output_type = getattr(member, "output_type", None)
    return output if output_type is None else adapter_of(output_type).validate_json(msgspec.json.encode(output))
