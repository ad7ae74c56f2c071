"""What the processes on a Postgres database tell one another, by NOTIFY: in batches, and in parts where it is long.

What cannot be told for now is kept for a while: of those who listen, not everybody's connection need have been cut, and
who was there all the time does not look for what it missed. What was not kept is told of: that something was missed.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import structlog

from netra_apex.errors import StoreError
from netra_apex.stores.connecting import Connection, drop, our_errors
from netra_apex.stores.postgres import Postgres

PAYLOAD_BYTES = 7_900  # Postgres takes less than 8000
PATIENCE_SECONDS = 0.02  # how long what is not urgent waits for more
AGAIN_SECONDS = 0.25
MAX_WAITING = 4_000  # messages that wait for a database that is gone; more are of no use to anybody
MAX_WAITING_LETTERS = 16_000_000  # in those of them that could not be told
KEEP_SECONDS = 30.0  # after which whoever listens had better look for itself
NOTIFY = "select pg_notify(channel, payload) from unnest($1::text[], $2::text[]) as told (channel, payload)"

log = structlog.get_logger()


class _Part(msgspec.Struct, array_like=True):
    """A piece of a message that is too long for one payload."""

    whole: str
    number: int
    count: int
    text: str


_payload = msgspec.json.Decoder(list[msgspec.Raw])
_part = msgspec.json.Decoder(_Part)


class _Word(NamedTuple):
    """What is to be told, and since when."""

    at: float
    topic: str
    text: str


class PostgresBus:
    """See `core.processes.Bus`, which this is. Nothing here is kept for long: who was not there has not heard it."""

    def __init__(self, database: Postgres, me: str) -> None:
        self._database = database
        self._me = me
        self._heard: dict[str, Callable[[str], None]] = {}
        self._back: list[Callable[[float], None]] = []
        self._waiting: list[_Word] = []
        self._missed: dict[str, float] = {}  # topics on which something was not told: since when
        self._urgent = asyncio.Event()
        self._some = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._names = itertools.count(1)
        self._parts: dict[str, dict[int, str]] = {}

    def send(self, topic: str, text: str, *, urgent: bool = True) -> None:
        """Tells everybody who listens to this topic, soon."""
        word = _Word(time.monotonic(), topic, text)
        if len(self._waiting) < MAX_WAITING:
            self._waiting.append(word)
        else:
            self._miss(word)
        self._idle.clear()
        self._some.set()
        if urgent:
            self._urgent.set()

    def listen(self, topic: str, heard: Callable[[str], None]) -> None:
        """Calls `heard` with what is told on this topic, from the next `run` on."""
        self._heard[topic] = heard

    def on_back(self, call: Callable[[float], None]) -> None:
        """Calls this when it listens again, with for how many seconds something may have been missed."""
        self._back.append(call)

    async def flush(self) -> None:
        """Waits until what was sent is told, or cannot be for now."""
        self._urgent.set()
        await self._idle.wait()

    async def run(self) -> None:
        """Listens and tells, until it is cancelled; a connection that is lost is made again."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen_forever())
            group.create_task(self._tell_forever())

    async def _listen_forever(self) -> None:
        deaf_since, hears = time.monotonic(), True
        while True:
            try:
                with our_errors():
                    connection = await self._database.server.connect(application_name=f"netra bus {self._me}")
                try:
                    over = await self._listen(connection)
                    self._say_back(time.monotonic() - deaf_since)
                    await over.wait()
                    deaf_since = time.monotonic()
                    hears = True
                finally:
                    connection.terminate()
            except StoreError as error:
                if hears:
                    log.warning("nothing is heard of other processes for now", error=str(error))
                hears = False
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen(self, connection: Connection) -> asyncio.Event:
        over = asyncio.Event()
        self._parts.clear()  # the rest of them was told while nobody listened
        with our_errors():
            connection.add_termination_listener(lambda _: over.set())
            for topic in self._heard:
                await connection.add_listener(_channel(topic), self._on_notify)
        return over

    def _say_back(self, seconds: float) -> None:
        for call in self._back:
            call(seconds)

    def _on_notify(self, _: object, __: int, channel: str, payload: str) -> None:
        topic = channel.removeprefix("netra_")
        for said in _payload.decode(payload):
            text = bytes(said).decode()
            try:
                # What is told is a JSON object; a part of one is an array; a number says that something was missed.
                if text[0] not in "[{":
                    self._say_back(float(text))
                    continue
                whole = self._joined(_part.decode(said)) if text.startswith("[") else text
                if whole is not None:
                    self._heard[topic](whole)
            except Exception:
                # One word that this process does not understand, a newer one's, must not cost it the others.
                log.exception("what another process told is not understood", topic=topic)

    def _joined(self, part: _Part) -> str | None:
        parts = self._parts.setdefault(part.whole, {})
        parts[part.number] = part.text
        if len(parts) < part.count:
            return None
        del self._parts[part.whole]
        return "".join(text for _, text in sorted(parts.items()))

    async def _tell_forever(self) -> None:
        tells = True
        while True:
            await self._some.wait()
            if not self._urgent.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await self._urgent.wait()
            self._some.clear()
            self._urgent.clear()
            told, self._waiting = self._waiting, []
            missed, self._missed = self._missed, {}
            try:
                await self._tell(told, missed)
                tells = True
            except StoreError as error:
                if tells:
                    log.warning("other processes are not told for now", error=str(error))
                tells = False
                self._keep(told, missed)
                self._idle.set()
                await asyncio.sleep(AGAIN_SECONDS)
                self._some.set()
            if not self._waiting:
                self._idle.set()

    def _keep(self, told: list[_Word], missed: dict[str, float]) -> None:
        """Has what could not be told wait on, before what came since; but not for ever, and not without bound."""
        for topic, since in missed.items():
            self._missed[topic] = min(since, self._missed.get(topic, since))
        oldest = time.monotonic() - KEEP_SECONDS
        words, self._waiting, letters = told + self._waiting, [], 0
        for word in words:
            letters += len(word.text)
            if word.at < oldest or len(self._waiting) >= MAX_WAITING or letters > MAX_WAITING_LETTERS:
                self._miss(word)
            else:
                self._waiting.append(word)

    def _miss(self, word: _Word) -> None:
        self._missed[word.topic] = min(word.at, self._missed.get(word.topic, word.at))

    async def _tell(self, told: list[_Word], missed: dict[str, float]) -> None:
        now = time.monotonic()
        channels = [_channel(topic) for topic in missed]
        payloads = [f"[{now - since:.3f}]" for since in missed.values()]
        for topic in dict.fromkeys(word.topic for word in told):
            for payload in self._payloads([word.text for word in told if word.topic == topic]):
                channels.append(_channel(topic))
                payloads.append(payload)
        if not channels:
            return
        with our_errors():
            connection = await self._database.acquire()
            try:
                # By itself: a commit that notifies waits for every other one that does.
                await connection.execute(NOTIFY, channels, payloads)
            except BaseException:
                drop(connection)  # one that was given up in the middle would be waited for as it is given back
                raise
            finally:
                await self._database.release(connection)

    def _payloads(self, texts: list[str]) -> list[str]:
        found: list[str] = []
        batch: list[bytes] = []
        size = 2
        for piece in itertools.chain.from_iterable(map(self._pieces, texts)):
            if batch and size + len(piece) + 1 > PAYLOAD_BYTES:
                found.append(f"[{b','.join(batch).decode()}]")
                batch, size = [], 2
            batch.append(piece)
            size += len(piece) + 1
        if batch:
            found.append(f"[{b','.join(batch).decode()}]")
        return found

    def _pieces(self, text: str) -> list[bytes]:
        """The message, in as many parts as it needs."""
        whole = text.encode()
        if len(whole) + 2 <= PAYLOAD_BYTES:
            return [whole]
        name = f"{self._me}.{next(self._names)}"
        step = PAYLOAD_BYTES // 8  # a character is at most 6 bytes as JSON
        cut = [text[start : start + step] for start in range(0, len(text), step)]
        return [msgspec.json.encode(_Part(name, number, len(cut), piece)) for number, piece in enumerate(cut)]


def _channel(topic: str) -> str:
    return f"netra_{topic}"
