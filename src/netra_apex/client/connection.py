"""`Connection`: asks and follows over a line that may be lost, as if it were not."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from netra_apex.client.errors import ClientError, RequestRefused, ServerUnreachable, UnreadableFrame
from netra_apex.client.following import Following
from netra_apex.client.frames import ConnectionEstablished, ErrorFrame, Event, MessageAccepted, Ok, Pong, ServerFrame
from netra_apex.client.http import Api
from netra_apex.client.line import ClientFrame, Line
from netra_apex.client.live import LiveRun, Notice, Reconnected, Reconnecting
from netra_apex.core.conversations import IfBusy, Verdict
from netra_apex.core.events import PassingFrame
from netra_apex.core.ids import new_id

ENDED_KEPT = 32

_Answer = MessageAccepted | Ok


class Connection:
    """What `Client.connect` lends. Messages and cancels wait for their answer across lost sockets.

    A message that was not answered when the socket was lost is sent again with the same idempotency key, and every
    run that has not ended is subscribed again after its last event: so nothing is asked twice and nothing is missed.
    With `notices`, the runs also yield `Reconnecting` and `Reconnected`; `idle` is called with those that no run hears.
    """

    def __init__(
        self, api: Api, *, patience: float, notices: bool = False, idle: Callable[[Notice], None] | None = None
    ) -> None:
        self.line = Line(api, self, patience=patience)
        self.reconnects = 0
        self._url = api.url
        self._wait = api.timeout + patience
        self._notices = notices
        self._idle = idle
        self._loop = asyncio.get_running_loop()
        self._greeting: asyncio.Future[ConnectionEstablished] = self._loop.create_future()
        self._pending: dict[str, tuple[ClientFrame, asyncio.Future[_Answer]]] = {}
        self._subscribing: dict[str, str] = {}
        self._runs: dict[str, LiveRun] = {}
        self._ended: deque[str] = deque()
        self._lost_at: float | None = None
        self._over: ClientError | None = None

    @property
    def up(self) -> bool:
        """Whether there is a socket, as far as one knows; without one, what is sent waits."""
        return self._greeting.done() and self._lost_at is None and self._over is None

    async def established(self) -> ConnectionEstablished:
        """The server's first greeting.

        Raises:
            ClientError: the connection ended before it.
        """
        return await self._greeting

    async def send(  # noqa: PLR0913 - what a message may have, each by its name
        self,
        content: str,
        *,
        thread_id: str | None = None,
        agent: str | None = None,
        replace: str | None = None,
        if_busy: IfBusy = "enqueue",
        idempotency_key: str | None = None,
        files: Sequence[str] = (),
    ) -> LiveRun:
        """Sends a message (in a new thread unless `thread_id` names one) and follows the run that it becomes.

        `files` are ids of files of that thread.

        Raises:
            RequestRefused: the server will not have it, with the code and the reason.
            ServerUnreachable, ConnectionLost, ConnectionRefused, ConnectionOver: there is no server to have it.
        """
        optional = {"thread_id": thread_id, "agent": agent, "replace": replace, "files": list(files) or None}
        accepted = await self._ask(
            {
                "type": "user_message",
                "content": content,
                "if_busy": if_busy,
                "idempotency_key": idempotency_key or new_id("key"),
                **{name: value for name, value in optional.items() if value is not None},
            }
        )
        if not isinstance(accepted, MessageAccepted):
            raise UnreadableFrame("an answer to user_message", "it is ok, not message_accepted")
        return self._runs[accepted.run_id]

    async def follow(self, run_id: str, *, after: int = 0) -> LiveRun:
        """Follows a run that is under way, from the event after `after`.

        A refusal (no such run, or `after` beyond its last event) is raised by the iteration.
        """
        if self._over is not None:
            raise self._over
        known = self._runs.get(run_id)
        if known is not None and known.active:
            return known
        run = self._runs[run_id] = LiveRun(Following(run_id, last_seq=after))
        await self.line.send(self._subscription(run))
        return run

    async def leave(self, run_id: str) -> None:
        """Stops following a run, which goes on without this client."""
        if self._runs.pop(run_id, None) is not None:
            await self.line.send({"type": "unsubscribe", "run_id": run_id, "id": new_id("req")})

    async def cancel(self, run_id: str) -> None:
        """Cancels a run; its stream then tells `agent_cancelled`.

        Raises:
            RequestRefused: there is no such run of this user.
            ServerUnreachable, ConnectionLost, ConnectionRefused, ConnectionOver: there is no server to ask.
        """
        await self._ask({"type": "cancel", "run_id": run_id})

    async def decide(self, approval_id: str, decision: Verdict, note: str | None = None) -> None:
        """Approves a call that waits, or rejects it with a note for the agent; its run then goes on.

        Raises:
            RequestRefused: there is no such approval of this user (`not_found`), or it was decided before, its time is
                over, or its run has ended (`already_decided`): also where the answer to this was lost on its way.
            ServerUnreachable, ConnectionLost, ConnectionRefused, ConnectionOver: there is no server to ask.
        """
        frame = {"type": "decide", "approval_id": approval_id, "decision": decision}
        await self._ask(frame if note is None else {**frame, "note": note})

    async def answer(self, question_id: str, content: str) -> None:
        """Answers a question of a run, which then goes on.

        Raises:
            RequestRefused: there is no such question of this user (`not_found`), it was answered before, its time is
                over, or its run has ended (`already_decided`), or this is no answer (`invalid`).
            ServerUnreachable, ConnectionLost, ConnectionRefused, ConnectionOver: there is no server to ask.
        """
        await self._ask({"type": "answer", "question_id": question_id, "content": content})

    def greeted(self, greeting: ConnectionEstablished) -> Sequence[ClientFrame]:
        """A socket is up: what has to be asked again on it."""
        if not self._greeting.done():
            self._greeting.set_result(greeting)
        elif self._lost_at is not None:
            self.reconnects += 1
            self._notice(Reconnected(self._loop.time() - self._lost_at))
        self._lost_at = None
        self._subscribing.clear()
        again = [self._subscription(run) for run in self._runs.values() if run.active]
        return [*again, *(frame for frame, _ in self._pending.values())]

    def took(self, frame: ServerFrame) -> None:
        """A frame arrived: an answer, or something of a run."""
        match frame:
            case MessageAccepted():
                self._accepted(frame)
            case Ok():
                self._answered(frame.id, frame)
            case ErrorFrame():
                self._refused(frame)
            case ConnectionEstablished() | Pong():
                pass
            case _:
                run = self._runs.get(frame.run_id)
                if run is not None:
                    self._tell(run, frame)

    def lost(self, reason: str) -> None:
        """The socket is away: the runs go on, and hear of it once."""
        if self._lost_at is None and self._greeting.done():
            self._lost_at = self._loop.time()
            self._notice(Reconnecting(reason))

    def over(self, error: ClientError) -> None:
        """Nothing more comes: everybody who waits hears why."""
        if self._over is not None:
            return
        self._over = error
        if not self._greeting.done():
            self._greeting.set_exception(error)
            # Marks it as seen: whoever left before the greeting does not want to hear of it.
            self._greeting.exception()
        for _, answer in self._pending.values():
            if not answer.done():
                answer.set_exception(error)
        for run in self._runs.values():
            if run.active:
                run.failed(error)

    async def _ask(self, frame: ClientFrame) -> _Answer:
        if self._over is not None:
            raise self._over
        ident = new_id("req")
        answer: asyncio.Future[_Answer] = self._loop.create_future()
        request = {**frame, "id": ident}
        self._check_size(request)
        self._pending[ident] = (request, answer)
        try:
            async with asyncio.timeout(self._wait):
                await self.line.send(request)
                return await answer
        except TimeoutError as error:
            raise ServerUnreachable(self._url, f"no answer to {frame['type']} within {self._wait:g} s") from error
        finally:
            del self._pending[ident]

    def _check_size(self, request: ClientFrame) -> None:
        """Refuses what the server would close the socket for, so that nothing else is lost with it.

        Raises:
            RequestRefused: `too_large`.
        """
        limit = self._greeting.result().limits.get("frame_bytes") if self._greeting.done() else None
        size = len(msgspec.json.encode(request))
        if isinstance(limit, int) and size > limit:
            raise RequestRefused("too_large", f"it has {size} bytes as a frame; the server takes {limit} at most")

    def _subscription(self, run: LiveRun) -> ClientFrame:
        ident = new_id("req")
        self._subscribing[ident] = run.run_id
        run.following.begin(run.last_seq)
        return {"type": "subscribe", "run_id": run.run_id, "after": run.last_seq, "id": ident}

    def _accepted(self, frame: MessageAccepted) -> None:
        if frame.id not in self._pending:
            return  # Who asked has gone; without a reader the run must not fill the memory.
        known = self._runs.get(frame.run_id)
        if known is not None and known.active:
            known.following.begin(0)
        else:
            self._runs[frame.run_id] = LiveRun(
                Following(frame.run_id), thread_id=frame.thread_id, message_id=frame.message_id
            )
        self._answered(frame.id, frame)

    def _answered(self, ident: str | None, answer: _Answer) -> None:
        self._subscribing.pop(ident or "", None)
        waiting = self._pending.get(ident or "")
        if waiting is not None and not waiting[1].done():
            waiting[1].set_result(answer)

    def _refused(self, frame: ErrorFrame) -> None:
        error = RequestRefused(frame.code, frame.message)
        run = self._runs.get(self._subscribing.pop(frame.id or "", ""))
        if run is not None:
            run.failed(error)
        waiting = self._pending.get(frame.id or "")
        # A server that drains closes the socket next: the next one gets the frame again.
        if waiting is not None and not waiting[1].done() and frame.code != "draining":
            waiting[1].set_exception(error)

    def _tell(self, run: LiveRun, frame: Event | PassingFrame) -> None:
        was_active = run.active
        run.told(frame)
        if was_active and not run.active:
            # Kept for a while, so that what follows an ending is noticed.
            self._ended.append(run.run_id)
            if len(self._ended) > ENDED_KEPT:
                self._runs.pop(self._ended.popleft(), None)

    def _notice(self, notice: Notice) -> None:
        active = [run for run in self._runs.values() if run.active]
        if self._notices:
            for run in active:
                run.noticed(notice)
        if self._idle is not None and not active:
            self._idle(notice)
