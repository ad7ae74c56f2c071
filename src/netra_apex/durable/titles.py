"""`Titles`: short titles for threads, asked of a model once the first run of a thread has completed.

Outside of the run: it has ended by then, its events are complete, and whoever waits for it does not wait for this.
"""

import asyncio
import re
import unicodedata
from collections.abc import Callable

import structlog

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.messages import ModelRequest, SystemMessage, UserMessage
from netra_apex.core.ports import Conversations
from netra_apex.core.redaction import Redactor
from netra_apex.core.voices import Model
from netra_apex.engine.orders import Order
from netra_apex.errors import NetraError

TITLE_LENGTH = 60
TITLE_SECONDS = 20.0  # for the whole of it; the title is its first line's after that
TITLES_AT_ONCE = 4  # of one process
TITLES_WAITING = 200  # more than that and they stay as they are: titles must not pile up behind a slow model
SHOWN = 1_000  # characters of question and of answer: what a thread is about is said early
OFFLINE = "demo:"
INSTRUCTIONS = (
    "Give this conversation a title: what it is about, in at most six words, in the language of the question. "
    "Answer with the title alone, on one line, without quotes. Do not answer the question."
)
_AROUND = " \t\"'`*#_.:-\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u2013\u2014"  # quotes, dashes, Markdown

log = structlog.get_logger()


class Titles:
    """Asks for the titles of a process's threads, a few at a time. `model` gives the model of an agent, by its name."""

    def __init__(
        self,
        conversations: Conversations,
        model: Callable[[str], Model],
        redactor: Redactor,
        draining: Callable[[], bool],
    ) -> None:
        self._conversations = conversations
        self._model = model
        self._redactor = redactor
        self._draining = draining
        self._waiting: asyncio.Queue[tuple[UserExecutionContext, str]] = asyncio.Queue(TITLES_WAITING)

    def completed(self, order: Order) -> None:
        """A run has ended well: its thread may be one that has only its first line for a title."""
        try:
            if not self._draining():
                self._waiting.put_nowait((order.context, order.agent))
        except asyncio.QueueFull:
            log.warning("a thread keeps its first line as title: too many are asked for", run_id=order.context.run_id)

    async def run(self) -> None:
        """Asks for them, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(TITLES_AT_ONCE):
                group.create_task(self._ask_on())

    async def _ask_on(self) -> None:
        while True:
            context, agent = await self._waiting.get()
            whose = {"user_id": context.user_id, "run_id": context.run_id}
            try:
                async with asyncio.timeout(TITLE_SECONDS):
                    await self._ask(context, agent)
            except (NetraError, TimeoutError) as error:
                log.warning("a thread keeps its first line as title", **whose, error=str(error) or "it took too long")
            except Exception:
                # A fault of a model's client must not end the group that every run is in; the title stays as it is.
                log.exception("a thread keeps its first line as title", **whose)

    async def _ask(self, context: UserExecutionContext, agent: str) -> None:
        model = self._model(agent)
        # The offline demo answers what it is asked, and cannot sum it up.
        if self._draining() or model.name.startswith(OFFLINE):
            return
        said = await self._conversations.claim_title(context.user_id, context.thread_id, context.run_id)
        if said is None:
            return
        asked, answer = (text[:SHOWN] for text in said)
        question = UserMessage(f"The question:\n{asked}\n\nThe answer:\n{answer}\n\nThe title:")
        reply = await model.complete(ModelRequest(messages=(SystemMessage(INSTRUCTIONS), question)), _Unheard())
        title = title_in(self._redactor.text(reply.text))
        if title and not await self._conversations.put_title(context.user_id, context.thread_id, title):
            log.info("a thread was renamed before its title came", thread_id=context.thread_id)


def title_in(answer: str) -> str:
    """The title in a model's answer: its first line with letters, without quotes and marks; '' where there is none."""
    for line in answer.splitlines():
        shown = "".join(" " if unicodedata.category(char).startswith("C") else char for char in line)
        title = re.sub(r"^title\s*:", "", shown.strip(_AROUND), flags=re.IGNORECASE)
        title = " ".join(title.split()).strip(_AROUND)
        if title:
            return title if len(title) <= TITLE_LENGTH else title[: TITLE_LENGTH - 1].rstrip() + "…"
    return ""


class _Unheard:
    """Where the pieces of an answer go that nobody is shown."""

    pace = 1.0

    def text(self, piece: str) -> None:
        """More of the text."""

    def thinking(self, piece: str) -> None:
        """More of what it thinks."""

    def reset(self) -> None:
        """It is asked anew."""
