"""`SupervisorAgent`: hands work to members, as the model chooses or as code does."""

from typing import Any, ClassVar

from netra_apex.agents.base import BaseAgent
from netra_apex.agents.chat import ChatAgent

HISTORY = "history"  # in `share`: what was said in the thread before
FILES = "files"  # in `share`: the files that came with the run's message


class SupervisorAgent(ChatAgent):
    """An agent with `members`, to whom it hands parts of its task.

    Left without `run`, the model hands out the work: each member is offered to it as a tool, `delegate_<name>`, with
    the member's description and `{task}`, or the fields of its `input_type`. With a `run` of its own, code does, by
    `scope.delegate`. A member works in a context of its own and sees its task and nothing else, but for what `share`
    names: `"history"` is what was said in the thread before, `"files"` are those that came with the message. A member
    that fails is an answer like any other.
    """

    members: ClassVar[tuple[type[BaseAgent], ...]] = ()
    share: ClassVar[tuple[str, ...]] = ()

    @property
    def offers(self) -> tuple[Any, ...]:
        """What the model is offered: the tools, those of the servers, and the members."""
        return (*super().offers, *self.members)
