"""AG-UI 1.0 served: what a client's run starts or goes on with here, and its stream from the log."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from importlib.metadata import version

from ag_ui.core import (
    AgentCapabilities,
    AssistantMessage,
    BaseEvent,
    CustomEvent,
    HumanInTheLoopCapabilities,
    IdentityCapabilities,
    Message,
    MessagesSnapshotEvent,
    MultiAgentCapabilities,
    MultimodalCapabilities,
    MultimodalInputCapabilities,
    ReasoningCapabilities,
    ResumeEntry,
    RunAgentInput,
    RunErrorEvent,
    StateCapabilities,
    ToolsCapabilities,
    TransportCapabilities,
    UserMessage,
)

from netra_apex.core.conversations import Post
from netra_apex.core.events import ApprovalDecided, ApprovalRequested, QuestionAnswered, QuestionAsked, as_told, decode
from netra_apex.core.permissions import allows
from netra_apex.core.runs import Run
from netra_apex.errors import AlreadyDecided, Forbidden, Invalid, NotFound
from netra_apex.runtime import Runtime
from netra_apex.server.auth import Principal
from netra_apex.server.eventstream import Frames, after_of
from netra_apex.server.protocols.agui_asks import OURS, Answer, Asked, answer_of, run_of
from netra_apex.server.protocols.agui_events import Naming, Teller
from netra_apex.server.protocols.agui_input import if_busy, key_of, left_out, read, said, thread_of
from netra_apex.server.protocols.tailing import tailed
from netra_apex.server.protocols.taking import keep_files
from netra_apex.stream.reader import PAGE

__all__ = ["attaching", "capabilities", "opening", "read"]
SNAPSHOT_MESSAGES = 1_000  # the last ones of a thread


@dataclass(frozen=True, slots=True)
class Place:
    """Where a stream begins: after this event, and whether the client may have been told half of what came before."""

    after: int
    gap: bool


def capabilities(runtime: Runtime, principal: Principal, agent: str) -> str:
    """What an agent can do here, as JSON. Raises: NotFound, Forbidden: as to run it."""
    definition = runtime.registry.get(agent)
    if not allows(principal.permissions, definition.requires):
        raise Forbidden(f"agent {agent} needs the permission {definition.requires}")
    description = dict(runtime.registry.describe(principal.permissions))[agent]
    leads = bool(getattr(definition, "members", ()))
    return AgentCapabilities(
        identity=IdentityCapabilities(
            name=agent, type="netra-apex", description=description, version=version("netra-apex")
        ),
        transport=TransportCapabilities(
            streaming=True, websocket=False, http_binary=False, push_notifications=False, resumable=True
        ),
        tools=ToolsCapabilities(client_provided=False),
        state=StateCapabilities(snapshots=False, deltas=False),
        multi_agent=MultiAgentCapabilities(supported=leads, delegation=leads, handoffs=False),
        reasoning=ReasoningCapabilities(supported=True, streaming=True, encrypted=False),
        multimodal=MultimodalCapabilities(input=MultimodalInputCapabilities(image=True, pdf=True, file=True)),
        human_in_the_loop=HumanInTheLoopCapabilities(
            supported=True, approvals=True, interrupts=True, approve_with_edits=False
        ),
        custom={OURS: {"attach": "/api/agui/runs/{run_id}", "cancel": "/api/runs/{run_id}/cancel"}},
    ).model_dump_json(by_alias=True)


def opening(
    runtime: Runtime, principal: Principal, agent: str, given: RunAgentInput, last_event_id: str | None
) -> Callable[[], Awaitable[Frames]]:
    """What begins a client's run: a message, or answers for a run that waits.

    Raises:
        Invalid: the input asks for nothing that can be done.
    """
    after_of(last_event_id, 0)
    if given.resume:
        entries = given.resume
        return lambda: _resume(runtime, principal, agent, given, (entries, last_event_id))
    sent = said(given)

    async def begin() -> Frames:
        user_id = principal.user_id
        runtime.admission.check_open()
        thread_id = await thread_of(runtime, user_id, given.thread_id)
        post = Post(
            content=sent.content,
            thread_id=thread_id,
            agent=agent,
            if_busy=await if_busy(runtime, user_id, thread_id, given),
            idempotency_key=key_of(given.run_id),
            files=await keep_files(runtime, user_id, thread_id, (key_of(given.run_id), sent.files)),
            begins=True,
        )
        accepted = await runtime.admission.post(user_id, principal.permissions, post)
        after = after_of(last_event_id, 0)
        naming = _naming(given, accepted.thread_id, accepted.run_id)
        place = Place(after, gap=accepted.repeated or after > 0)
        return await _stream(runtime, user_id, naming, place, left_out(given))

    return begin


def attaching(
    runtime: Runtime, user_id: str, run_id: str, after: int, named: tuple[str | None, str | None]
) -> Callable[[], Awaitable[Frames]]:
    """What goes on with a run's stream; `named` is what the client calls thread and run."""

    async def begin() -> Frames:
        run = await runtime.stores.runs.run(user_id, run_id)
        if run is None:
            raise NotFound("run", run_id)
        thread, called = named
        naming = Naming(thread=thread or run.thread_id, run=called or run_id, thread_id=run.thread_id, run_id=run_id)
        return await _stream(runtime, user_id, naming, Place(after, gap=True))

    return begin


async def _resume(
    runtime: Runtime,
    principal: Principal,
    agent: str,
    given: RunAgentInput,
    resuming: tuple[list[ResumeEntry], str | None],
) -> Frames:
    entries, last_event_id = resuming
    user_id = principal.user_id
    runtime.admission.check_open()
    found = [run_of(entry) for entry in entries]
    if len({run_id for run_id, _ in found}) > 1 or len({ident for _, ident in found}) < len(found):
        raise Invalid("resume is to answer interrupts of one run, each once")
    run_id = found[0][0]
    run = await runtime.stores.runs.run(user_id, run_id)
    thread_id = await thread_of(runtime, user_id, given.thread_id)
    if run is None or run.agent != agent or run.thread_id != thread_id:
        raise NotFound("interrupt", entries[0].interrupt_id)
    asked, decided = await _asked(runtime, run)
    answers: list[Answer] = []
    for entry, (_, ident) in zip(entries, found, strict=True):
        if ident not in asked:
            raise NotFound("interrupt", entry.interrupt_id)
        answers.append(answer_of(entry, asked[ident]))
    # Where the client's run before this one ended: nothing was told between the question and its answer.
    start = min((decided[each.ident] - 1 for each in answers if each.ident in decided), default=run.last_seq)
    for answer in sorted(answers, key=lambda each: each.verdict is None and each.text is None):
        await _decide(runtime, run, answer, principal.permissions)
    after = max(start, after_of(last_event_id, 0))
    place = Place(after, gap=bool(last_event_id))
    return await _stream(runtime, user_id, _naming(given, run.thread_id, run_id), place, left_out(given))


async def _asked(runtime: Runtime, run: Run) -> tuple[dict[str, Asked], dict[str, int]]:
    """What a run has asked, by its id, and the event with which it was told the answer."""
    asked: dict[str, Asked] = {}
    decided: dict[str, int] = {}
    last = 0
    while page := await runtime.stores.runs.events(run.user_id, run.run_id, last, PAGE):
        for seq, body in page:
            match decode(body):
                case (ApprovalRequested(approval_id=ident) | QuestionAsked(question_id=ident)) as event:
                    asked[ident] = event
                case ApprovalDecided(approval_id=ident) | QuestionAnswered(question_id=ident):
                    decided[ident] = seq
                case _:
                    pass
        last = page[-1][0]
    return asked, decided


async def _decide(runtime: Runtime, run: Run, answer: Answer, may: frozenset[str]) -> None:
    """Hands an answer on; the same once more changes nothing, as a client may not have heard that it was taken.

    Raises:
        AlreadyDecided: another answer was given before, or the time is over.
        Forbidden: the run may what whoever answers may not.
    """
    try:
        if answer.verdict is not None:
            await runtime.house.decide(run.user_id, answer.ident, answer.verdict, answer.text, may=may)
        elif answer.text is not None:
            await runtime.house.answer(run.user_id, answer.ident, answer.text, may=may)
        else:
            await runtime.admission.cancel(run.user_id, run.run_id)
    except AlreadyDecided:
        known = (await runtime.stores.approvals.decisions(run.user_id, run.run_id)).get(answer.ident)
        if known is None or (known.decision, answer.verdict or known.note) != (
            answer.verdict or "answer",
            answer.verdict or answer.text,
        ):
            raise


def _naming(given: RunAgentInput, thread_id: str, run_id: str) -> Naming:
    return Naming(
        thread=given.thread_id, run=given.run_id, thread_id=thread_id, run_id=run_id, parent=given.parent_run_id
    )


async def _stream(runtime: Runtime, user_id: str, naming: Naming, place: Place, notice: str | None = None) -> Frames:
    """The stream of a run after a place in its log. Raises: NotFound, AfterOutOfRange."""
    run = await runtime.stores.runs.run(user_id, naming.run_id)
    if run is None:
        raise NotFound("run", naming.run_id)
    # One that has ended tells its ending again: the protocol knows no stream without one.
    after = max(0, run.last_seq - 1) if run.status.ended and place.after == run.last_seq else place.after
    follower = await runtime.reader.follower(user_id, naming.run_id, after)
    teller = Teller(naming)
    last = 0
    while last < after and (page := await runtime.stores.runs.events(user_id, naming.run_id, last, PAGE)):
        for seq, body in page:
            if seq <= after:
                teller.hear(seq, decode(body))
        last = page[-1][0]

    async def told() -> Frames:
        begun = teller.begin(gap=place.gap)
        if notice is not None:
            begun.insert(1, CustomEvent(name=f"{OURS}.notice", value={"message": notice}))
        for event in begun:
            yield None, await _text(runtime, user_id, naming, event)
        async with aclosing(tailed(runtime, user_id, follower, lambda: bool(teller.asked))) as heard:
            async for seq, each in heard:
                events = teller.hear(seq, each)
                for number, event in enumerate(events, 1):
                    # With the last one the whole is told: who comes back after it lacks nothing of this.
                    whole = seq if number == len(events) else None
                    yield whole, await _text(runtime, user_id, naming, event)
        if not teller.over:
            ends = await _stopped(runtime, user_id, teller, follower.seq)
            for number, event in enumerate(ends, 1):
                whole = follower.seq if number == len(ends) else None
                yield whole, event.model_dump_json(by_alias=True)

    return told()


async def _stopped(runtime: Runtime, user_id: str, teller: Teller, seq: int) -> list[BaseEvent]:
    """The end of a stream whose run has not ended: it waits for a person, or is gone."""
    if not teller.asked:
        return [RunErrorEvent(message="what this run told is not kept any more", code="not_found")]
    pending = await runtime.stores.questions.pending(user_id, limit=200)
    return teller.interrupt(seq, {each.question_id: as_told(each.expires_at) for each in pending.items})


async def _text(runtime: Runtime, user_id: str, naming: Naming, event: BaseEvent) -> str:
    """An event as JSON; a snapshot with what was said in the thread before the run."""
    if isinstance(event, MessagesSnapshotEvent):
        before = await _said_before(runtime, user_id, naming)
        event = event.model_copy(update={"messages": [*before, *event.messages]})
    return event.model_dump_json(by_alias=True)


async def _said_before(runtime: Runtime, user_id: str, naming: Naming) -> list[Message]:
    """What was said in the thread up to the run's own question."""
    found: list[Message] = []
    cursor: str | None = None
    while True:
        page = await runtime.stores.conversations.messages(user_id, naming.thread_id, limit=200, cursor=cursor)
        for each in page.items if page is not None else ():
            kind = UserMessage if each.role == "user" else AssistantMessage
            if each.run_id != naming.run_id or each.role == "user":
                found.append(kind(id=each.message_id, content=each.content))
            if each.run_id == naming.run_id:
                return found[-SNAPSHOT_MESSAGES:]
        if page is None or page.next_cursor is None:
            return found[-SNAPSHOT_MESSAGES:]
        cursor = page.next_cursor
