"""Files that come with a message: the model is told of them and sees pictures, and no journal holds them (G5, G7)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.support.bounded import run
from tests.support.stores import raw

from netra_apex import (
    AgentRegistry,
    BaseAgent,
    ChatAgent,
    Image,
    RunScope,
    Runtime,
    Settings,
    SupervisorAgent,
    UserMessage,
    list_files,
    read_file,
)
from netra_apex.core.belongings import NewFile, StoredFile
from netra_apex.core.conversations import Accepted, Post
from netra_apex.core.events import AgentStarted, ToolCompleted
from netra_apex.core.ids import new_id
from netra_apex.core.messages import ModelRequest, Reply, ToolCall
from netra_apex.core.voices import Deltas
from netra_apex.errors import Invalid, NotFound
from netra_apex.testing import Harness, harness

PNG = b"\x89PNG\r\n\x1a\n" + b"picture" * 10
CSV = b"day,cost\n2026-01-01,1.5\n2026-01-02,2.5\n"


class Seeing:
    """A model that remembers what it was asked, and says nothing much."""

    name = "test:seeing"

    def __init__(self) -> None:
        self.requests: list[ModelRequest] = []
        self.replies: list[Reply] = []
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        self.requests.append(request)
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        return self.replies.pop(0) if self.replies else Reply(text=f"answer {len(self.requests)}")

    async def check(self) -> str | None:
        return None

    async def aclose(self) -> None:
        pass

    def heard(self, number: int = -1) -> list[UserMessage]:
        return [each for each in self.requests[number].messages if isinstance(each, UserMessage)]


class Plain(ChatAgent):
    """Talks."""

    name = "plain"


class Aided(ChatAgent):
    """Reads files."""

    name = "aided"
    tools = (list_files, read_file)


class Member(ChatAgent):
    """Does what it is handed."""

    name = "member"


class Chief(SupervisorAgent):
    """Hands its task on twice, once with the files."""

    name = "chief"
    members = (Member,)

    async def run(self, task: str, scope: RunScope) -> list[Any]:
        alone = await scope.delegate(Member, task)
        shown = await scope.delegate(Member, task, share=("files",))
        return [alone.output, shown.output]


class Drawing(BaseAgent):
    """Shows the model a picture of its own."""

    name = "drawing"

    async def run(self, task: str, scope: RunScope) -> str:
        reply = await scope.model([UserMessage("What is this?", (Image("image/png", data=PNG),))])
        return reply.text


REGISTRY = AgentRegistry([Plain, Aided, Chief, Drawing])


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def thread(runtime: Runtime, user: str = "ada") -> str:
    return (await runtime.stores.conversations.add_thread(user, new_id("thr"), "a thread")).thread_id


async def add(
    runtime: Runtime, thread_id: str, data: bytes = CSV, name: str = "a.csv", *, user: str = "ada"
) -> StoredFile:
    media_type = "image/png" if name.endswith("png") else "text/csv"
    new = NewFile(file_id=new_id("fil"), name=name, media_type=media_type)
    return await runtime.stores.files.add_file(user, thread_id, new, pieces(data))


async def post(app: Harness | Runtime, content: str, thread_id: str, *files: StoredFile, **more: Any) -> Accepted:
    runtime = app.runtime if isinstance(app, Harness) else app
    given = Post(content=content, thread_id=thread_id, files=tuple(file.file_id for file in files), **more)
    return await runtime.admission.post("ada", frozenset(), given)


def test_the_model_is_told_of_files_and_sees_pictures_now_and_later_in_the_thread() -> None:
    async def main() -> None:
        model = Seeing()
        async with harness(REGISTRY, model=model) as app:
            here = await thread(app.runtime)
            table, picture = await add(app.runtime, here), await add(app.runtime, here, PNG, "c.png")
            outcome = await app.outcome("ada", await post(app, "look at these", here, table, picture))
            assert outcome.of(AgentStarted)[0].task == "look at these"
            (said,) = model.heard()
            assert said.content == (
                "look at these\n\nFiles that came with this message:\n"
                f"- a.csv (text/csv, {len(CSV)} bytes), file_id: {table.file_id}\n"
                f"- c.png (image/png, {len(PNG)} bytes), file_id: {picture.file_id}"
            )
            assert said.images == (Image("image/png", PNG),)
            await app.ask("and now?", thread_id=here)
            assert model.heard()[0] == said
            assert model.heard()[1] == UserMessage("and now?")
            page = await app.runtime.stores.conversations.messages("ada", here)
            assert page is not None
            assert [[file.name for file in message.files] for message in page.items] == [["a.csv", "c.png"], [], [], []]
            # Nowhere but in the file's own rows.
            assert await raw(app.runtime.stores, "select count(*) from transcripts where body like '%cGljdHVyZ%'") == [
                (0,)
            ]
            assert max(row[0] for row in await raw(app.runtime.stores, "select length(content) from steps")) < 400

    run(main())


def test_the_same_words_said_before_without_files_stay_without() -> None:
    async def main() -> None:
        model = Seeing()
        async with harness(REGISTRY, model=model) as app:
            here = await thread(app.runtime)
            await app.ask("analyze this", thread_id=here)
            file = await add(app.runtime, here)
            await app.outcome("ada", await post(app, "analyze this", here, file))
            assert model.heard()[0] == UserMessage("analyze this")
            assert file.file_id in model.heard()[1].content

    run(main())


def test_a_picture_that_is_gone_or_has_no_room_is_said_not_to_be_shown() -> None:
    async def main() -> None:
        model = Seeing()
        async with harness(REGISTRY, model=model, image_bytes=len(PNG) + 10) as app:
            here = await thread(app.runtime)
            first, second = await add(app.runtime, here, PNG, "1.png"), await add(app.runtime, here, PNG, "2.png")
            await app.outcome("ada", await post(app, "one", here, first))
            await app.outcome("ada", await post(app, "two", here, second))
            one, two = model.heard()
            assert (one.images, two.images) == ((), (Image("image/png", PNG),))
            assert f"(The picture {first.file_id} is not shown: it is too large beside the others.)" in one.content
            await app.runtime.stores.files.delete_file("ada", here, second.file_id)
            await app.ask("three", thread_id=here)
            one, two, _ = model.heard()
            assert (one.images, two.images) == ((Image("image/png", PNG),), ())
            assert f"(The picture {second.file_id} is not there any more.)" in two.content

    run(main())


def test_a_member_sees_files_where_its_supervisor_shares_them() -> None:
    async def main() -> None:
        model = Seeing()
        async with harness(REGISTRY, model=model) as app:
            here = await thread(app.runtime)
            picture = await add(app.runtime, here, PNG, "c.png")
            outcome = await app.outcome("ada", await post(app, "look", here, picture, agent="chief"))
            assert outcome.ok
            assert model.heard(0) == [UserMessage("look")]
            files, task = model.heard(1)
            assert (files.images, task) == ((Image("image/png", PNG),), UserMessage("look"))

    run(main())


def test_an_agents_own_picture_reaches_the_model() -> None:
    async def main() -> None:
        model = Seeing()
        async with harness(REGISTRY, model=model) as app:
            assert (await app.ask("draw", agent="drawing")).ok
            assert model.heard() == [UserMessage("What is this?", (Image("image/png", PNG),))]

    run(main())


def test_a_message_that_steers_brings_its_files_and_a_run_that_is_taken_up_is_told_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        settings = Settings.load(home=tmp_path, drain_seconds=0.1)
        model = Seeing()
        model.gate = asyncio.Event()
        model.replies = [Reply(text="", tool_calls=(ToolCall("call_1", "list_files", "{}"),))]
        async with Runtime(REGISTRY, settings, model=model) as runtime:
            here = await thread(runtime)
            first, second = await add(runtime, here, PNG, "1.png"), await add(runtime, here, PNG, "2.png")
            accepted = await post(runtime, "look", here, first, agent="aided")
            await model.asked.wait()
            await post(runtime, "and at this", here, second, if_busy="steer")
            model.asked.clear()
            # The first request is answered, the second has heard what steers; then the process ends in the middle.
            gate, model.gate = model.gate, asyncio.Event()
            gate.set()
            await model.asked.wait()
            steered = model.heard()
        model.gate = None
        async with Runtime(REGISTRY, settings, model=model) as runtime:
            async with asyncio.timeout(20):
                told = [text async for seq, text in runtime.reader.follow("ada", accepted.run_id, 0) if seq is not None]
            assert '"agent_completed"' in told[-1]
            assert len(model.requests) == 3
            assert model.heard() == steered
            assert [len(each.images) for each in steered] == [1, 1]
            assert second.file_id in steered[1].content
            await post(runtime, "after", here)
            model.asked.clear()

    run(main(), limit=60)


def test_files_must_be_the_threads_own() -> None:
    async def main() -> None:
        async with harness(REGISTRY, model=Seeing()) as app:
            here, other = await thread(app.runtime), await thread(app.runtime)
            bobs = await thread(app.runtime, "bob")
            mine, elsewhere = await add(app.runtime, here), await add(app.runtime, other)
            theirs = await add(app.runtime, bobs, user="bob")
            for file in (elsewhere, theirs):
                with pytest.raises(NotFound, match=f"there is no file {file.file_id}"):
                    await post(app, "look", here, mine, file)
            with pytest.raises(NotFound):
                await post(app, "look", bobs, theirs)
            with pytest.raises(Invalid, match="files are a thread's"):
                await app.runtime.admission.post("ada", frozenset(), Post(content="x", files=(mine.file_id,)))
            for odd in ("a\x00b", "\ud800", "", "x" * 300):
                with pytest.raises(Invalid, match="a file's id"):
                    await app.runtime.admission.post(
                        "ada", frozenset(), Post(content="x", thread_id=here, files=(odd,))
                    )
            with pytest.raises(Invalid, match="files has 21; 20 is the most"):
                await post(app, "look", here, *([mine] * 21))
            page = await app.runtime.stores.conversations.messages("ada", here)
            assert page is not None
            assert page.items == ()
            # Twice the same is once.
            await app.outcome("ada", await post(app, "look", here, mine, mine))
            page = await app.runtime.stores.conversations.messages("ada", here)
            assert page is not None
            assert [file.name for file in page.items[0].files] == ["a.csv"]

    run(main())


def test_files_are_part_of_what_an_idempotency_key_stands_for() -> None:
    async def main() -> None:
        async with harness(REGISTRY, model=Seeing()) as app:
            here = await thread(app.runtime)
            file, other = await add(app.runtime, here), await add(app.runtime, here)
            first = await post(app, "look", here, file, idempotency_key="k")
            await app.runtime.stores.files.delete_file("ada", here, file.file_id)
            again = await post(app, "look", here, file, idempotency_key="k")
            assert (again.run_id, again.repeated) == (first.run_id, True)
            for files in ((), (other,)):
                with pytest.raises(Exception, match="with other content"):
                    await post(app, "look", here, *files, idempotency_key="k")

    run(main())


def asks(name: str, **arguments: Any) -> Reply:
    encoded = msgspec.json.encode(arguments).decode()
    return Reply(text="", tool_calls=(ToolCall(new_id("call"), name, encoded),))


def test_a_models_tools_list_and_read_the_threads_files() -> None:
    async def main() -> None:
        model = Seeing()
        async with harness(REGISTRY, model=model) as app:
            here, other = await thread(app.runtime), await thread(app.runtime)
            table, picture = await add(app.runtime, here), await add(app.runtime, here, PNG, "c.png")
            wide = await add(app.runtime, here, "day,cost\n1,2\n".encode("utf-16"), "w.csv")
            elsewhere = await add(app.runtime, other)
            model.replies = [
                asks("list_files"),
                asks("read_file", file_id=table.file_id),
                asks("read_file", file_id=table.file_id, start_line=2, lines=1),
                asks("read_file", file_id=table.file_id, start_line=9),
                asks("read_file", file_id=wide.file_id),
                asks("read_file", file_id=picture.file_id),
                asks("read_file", file_id=elsewhere.file_id),
                asks("read_file", file_id=table.file_id, start_line=0),
            ]
            outcome = await app.outcome("ada", await post(app, "read", here, agent="aided"))
            ends = outcome.of(ToolCompleted)
            results = [end.result for end in ends if end.ok]
            assert [file["name"] for file in results[0]] == ["a.csv", "c.png", "w.csv"]
            assert results[1]["text"] == CSV.decode().rstrip("\n")
            assert results[2] == {"start_line": 2, "lines": 1, "lines_in_file": 3, "text": "2026-01-01,1.5"}
            assert results[3] == {"start_line": 9, "lines": 0, "lines_in_file": 3, "text": ""}
            assert results[4]["text"] == "day,cost\n1,2"
            errors = [(error.code, error.message) for error in outcome.errors()]
            assert errors[:2] == [
                ("error", "the file is no text in UTF-8 or UTF-16"),
                ("error", f"there is no file {elsewhere.file_id} in this conversation"),
            ]
            assert errors[2][0] == "invalid_arguments"

    run(main())
