"""`ScriptedModel`: a model that says what a test wrote down, and tells when the test and the code disagree."""

import asyncio
import inspect
import re
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

import msgspec

from netra_apex.core.messages import ModelRequest, Reply, ToolCall, Usage, UserMessage
from netra_apex.core.voices import Deltas

Call: TypeAlias = "ToolCall | tuple[str, Mapping[str, Any] | str]"
"""A call to ask for: `(name, arguments)`, the arguments as a mapping or as the model's own text, which may be ill."""

Answer: TypeAlias = "str | Call | list[Call] | Reply | BaseException"
Step: TypeAlias = "Answer | Callable[[ModelRequest], Answer | Awaitable[Answer]]"


def calls(*wanted: Call) -> list[Call]:
    """A step in which the model asks for several tool calls at once: `calls(("lookup", {"query": "x"}), …)`."""
    return list(wanted)


class ScriptedModel:
    """A model for tests that answers with `steps`, one for each request.

    A step is the answer's text; a call, `("lookup", {"query": "x"})` or a `ToolCall`, or several by `calls(…)`; a whole
    `Reply`; an exception, which is raised; or a function from the `ModelRequest` to one of these, async or not, which
    may also wait for an event, so that a test can hold two runs in one place.

    Order: a request takes its step at the moment when it is made, before anything is awaited. Runs that go on at once
    therefore share a list of steps in the order of their requests, which their scheduling decides. Where that matters,
    give each its own script: a mapping from the exact text of a user's last message to the steps of the requests that
    end in it.

    Text is told word by word, with a turn of the loop after each; usage is counted in words. `requests` holds every
    request. Calls that have no id get `call_1`, `call_2`, …

    `async with ScriptedModel(…) as model`, or `assert_done()`, fails where steps are left over or there was a request
    beyond the last one.
    """

    def __init__(
        self, steps: Iterable[Step] | Mapping[str, Sequence[Step]] = (), *, name: str = "test:scripted"
    ) -> None:
        self._name = name
        self._scripts: dict[str | None, deque[Step]] = {}
        if isinstance(steps, str):
            raise TypeError("a script is a list of steps: write ScriptedModel([...])")
        if isinstance(steps, Mapping):
            scripts = cast("Mapping[str, Sequence[Step]]", steps)
            self._scripts = {question: deque(script) for question, script in scripts.items()}
        else:
            self._scripts = {None: deque(steps)}
        self._beyond: list[str] = []
        self._ids = 0
        self.requests: list[ModelRequest] = []

    @property
    def name(self) -> str:
        """`test:scripted`, unless given."""
        return self._name

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        """The next step.

        Raises:
            AssertionError: there is none.
            BaseException: the step is one.
        """
        self.requests.append(request)
        step = self._take(request)
        if callable(step):
            made = step(request)
            answer = await made if inspect.isawaitable(made) else made
        else:
            answer = step
        if isinstance(answer, BaseException):
            raise answer
        reply = self._reply(answer, request)
        if reply.thinking:
            deltas.thinking(reply.thinking)
        for piece in re.findall(r"\s*\S+\s*|\s+", reply.text):
            deltas.text(piece)
            await asyncio.sleep(0)
        return reply

    async def check(self) -> str | None:
        """None: it is always there."""
        return None

    async def aclose(self) -> None:
        """Nothing to close. Steps may be left over here: a server under test closes its model before the test ends."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The test's own failure says more than the steps that it left over.
        if error is None:
            self.assert_done()

    def assert_done(self) -> None:
        """Fails where the code asked for more or fewer answers than there are steps.

        Raises:
            AssertionError: naming the steps left over, or the requests beyond the last step.
        """
        if self._beyond:
            raise AssertionError("; ".join(self._beyond))
        left = [
            repr(step) + (f" (for {question!r})" if question is not None else "")
            for question, script in self._scripts.items()
            for step in script
        ]
        if left:
            raise AssertionError(f"{len(left)} steps were left over: {', '.join(left)}")

    def _take(self, request: ModelRequest) -> Step:
        asked = next((m.content for m in reversed(request.messages) if isinstance(m, UserMessage)), "")
        script = self._scripts.get(None if None in self._scripts else asked)
        if script:
            return script.popleft()
        sentence = f"request {len(self.requests)} ({asked!r}) has no step: the script " + (
            "is used up" if script is not None else f"knows only {', '.join(map(repr, self._scripts))}"
        )
        # Kept too, because a run turns what its agent raises into a failed run.
        self._beyond.append(sentence)
        raise AssertionError(sentence)

    def _reply(self, answer: "str | Call | list[Call] | Reply", request: ModelRequest) -> Reply:
        if isinstance(answer, Reply):
            return answer
        heard = sum(len(message.content.split()) for message in request.messages)
        if isinstance(answer, str):
            return Reply(text=answer, usage=Usage(heard, len(answer.split()), 1))
        wanted = answer if isinstance(answer, list) else [answer]
        return Reply(text="", tool_calls=tuple(self._call(call) for call in wanted), usage=Usage(heard, len(wanted), 1))

    def _call(self, call: Call) -> ToolCall:
        if isinstance(call, ToolCall):
            return call
        self._ids += 1
        name, arguments = call
        text = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
        return ToolCall(f"call_{self._ids}", name, text)
