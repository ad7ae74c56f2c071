"""`ChatOrchestrator`: an open conversation, in which each request goes to whoever can answer it."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from netra_apex.agents.base import description_of
from netra_apex.agents.chat import text_of
from netra_apex.agents.supervisor import SupervisorAgent
from netra_apex.core.messages import ModelMessage, SystemMessage, UserMessage
from netra_apex.core.runs import Result
from netra_apex.core.scope import RunScope
from netra_apex.errors import OutputInvalid

MYSELF = "answer"
ROUTING = """\
Decide who answers the user's last message. There are:
{members}
- {myself}: you yourself, for small talk, for what was said before, and for whatever none of them is for.
Answer with `intents`, the most fitting first: each names one of these in `intent`, your `confidence` in it from 0 to \
1, and in `task` what exactly that one is to do, complete in itself, as nothing else is shown to it. Name several only \
where the message asks for several things. If you cannot tell what is meant, give a low confidence, and in `question` \
what to ask the user."""
GATHERING = """\
Answer the user's last message from what the specialists found, below. Say plainly what could not be found out, and do \
not add facts of your own.

{found}"""
UNSURE = "I am not sure what you mean. Could you say it in other words?"
"""What is asked where the model has named no question of its own."""


class Intent(BaseModel):
    """One thing that is asked for, by whom it is answered, and how sure that is."""

    model_config = ConfigDict(frozen=True)

    intent: str
    confidence: Annotated[float, Field(ge=0, le=1)]
    task: str = ""


class Routing(BaseModel):
    """What the model says of a request."""

    model_config = ConfigDict(frozen=True)

    intents: tuple[Intent, ...] = ()
    question: str = ""


class ChatOrchestrator(SupervisorAgent):
    """A supervisor for open conversation: it classifies each request, hands it to members or answers itself.

    First the model says what is asked for and how sure it is, which the user is not shown. An intent is acted on from
    its confidence in `thresholds` (by a member's name, or `"answer"`), else in `confidence`; where none is sure enough,
    the orchestrator asks back. What one member answers is passed on as it is; from what several did, or where one
    failed, the model makes one answer, which says what could not be found out. Members work side by side.
    """

    confidence: ClassVar[float] = 0.6
    thresholds: ClassVar[Mapping[str, float]] = MappingProxyType({})

    async def run(self, task: Any, scope: RunScope) -> Any:
        """Answers a message of the conversation.

        Raises:
            ModelFailed: the model failed, so that nothing could be said.
        """
        said = (*scope.history, UserMessage(text_of(task)))
        await scope.think("Working out what is asked for.")
        intents, question = await self._classify(said, scope)
        sure = [each for each in intents if each.confidence >= self.thresholds.get(each.intent, self.confidence)]
        if not sure:
            await scope.think("It is not clear what is meant.")
            return question or UNSURE
        asked = [each for each in sure if each.intent != MYSELF]
        if not asked:
            return await self._answer(said, scope)
        names = ", ".join(dict.fromkeys(each.intent for each in asked))
        await scope.think(f"Asking {names}.")
        found = await self._ask(asked, text_of(task), scope)
        if len(found) == 1 and found[0][1].ok:
            return found[0][1].output
        return await self._answer(said, scope, GATHERING.format(found="\n\n".join(map(_finding, found))))

    async def _classify(self, said: tuple[ModelMessage, ...], scope: RunScope) -> tuple[list[Intent], str]:
        """What is asked for, and what to ask back where that is not clear."""
        members = "\n".join(f"- {member.name}: {description_of(member)}" for member in self.members)
        instructions = SystemMessage(ROUTING.format(members=members, myself=MYSELF))
        try:
            reply = await scope.model((instructions, *said), output_type=Routing, show=False)
            routing: Routing = reply.output
        except OutputInvalid:
            routing = Routing()
        if not routing.intents and not routing.question.strip():
            # A model that cannot classify can still answer.
            return [Intent(intent=MYSELF, confidence=1)], ""
        known = {MYSELF, *(member.name for member in self.members)}
        return [each for each in routing.intents if each.intent in known], routing.question.strip()

    async def _ask(self, asked: list[Intent], whole: str, scope: RunScope) -> list[tuple[Intent, Result]]:
        by_name = {member.name: member for member in self.members}
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(scope.delegate(by_name[each.intent], each.task or whole, share=self.share))
                for each in asked
            ]
        return [(each, task.result()) for each, task in zip(asked, tasks, strict=True)]

    async def _answer(self, said: tuple[ModelMessage, ...], scope: RunScope, found: str = "") -> Any:
        instructions = "\n\n".join(filter(None, (self.instructions, found)))
        opening = [SystemMessage(instructions)] if instructions else []
        return await self.converse([*opening, *said], scope, (*self.tools, *self.mcp_servers))


def _finding(found: tuple[Intent, Result]) -> str:
    intent, result = found
    if result.ok:
        return f"{intent.intent}, asked {intent.task!r}, found:\n{text_of(result.output)}"
    assert result.error is not None
    return f"{intent.intent}, asked {intent.task!r}, could not answer: {result.error.message}"
