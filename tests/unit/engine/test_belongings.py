"""`scope.store`: a run has the files of its own thread alone, and did once what it did with them (G5, G7)."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.bounded import run
from tests.support.stores import opened, raw

from netra_apex import AgentRegistry, BaseAgent, RunScope, Runtime, Settings, tool
from netra_apex.core.belongings import NewFile, StoredFile
from netra_apex.core.conversations import Accepted, Post
from netra_apex.core.events import AgentCompleted, AgentFailed, DurableEvent, decode
from netra_apex.core.ids import new_id
from netra_apex.errors import Invalid, NotFound, ScopeClosed
from netra_apex.testing import harness

kept: dict[str, Any] = {}


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def add(runtime: Runtime, user: str, thread_id: str, data: bytes, name: str = "a.csv") -> StoredFile:
    new = NewFile(file_id=new_id("fil"), name=name, media_type="text/csv")
    return await runtime.stores.files.add_file(user, thread_id, new, pieces(data))


async def thread(runtime: Runtime, user: str = "ada") -> str:
    return (await runtime.stores.conversations.add_thread(user, new_id("thr"), "a thread")).thread_id


@tool
async def count(scope: RunScope) -> int:
    """Count the bytes of every file."""
    return sum([len(await scope.store.files.read(file.file_id)) for file in await scope.store.files.list()])


class Reader(BaseAgent):
    """Says what is in its thread's files, and tries to read the one that its message names."""

    name = "reader"

    async def run(self, task: str, scope: RunScope) -> dict[str, Any]:
        files = await scope.store.files.list()
        found = {file.name: (await scope.store.files.read(file.file_id)).decode() for file in files}
        try:
            named = (await scope.store.files.read(task)).decode()
        except NotFound as error:
            named = str(error)
        return {"found": found, "named": named, "count": await scope.tools.call(count)}


class Writer(BaseAgent):
    """Writes a report, and then rests if it is to."""

    name = "writer"

    async def run(self, task: str, scope: RunScope) -> dict[str, Any]:
        before = [file.name for file in await scope.store.files.list()]
        report = await scope.store.files.save("report.md", "text/markdown", b"# " + task.encode())
        if "resting" in kept:
            kept["resting"].set()
            await asyncio.Event().wait()
        return {"before": before, "report": report.file_id, "after": len(await scope.store.files.list())}


class Keeper(BaseAgent):
    """Keeps its scope for longer than it may."""

    name = "keeper"

    async def run(self, task: str, scope: RunScope) -> str:
        kept["scope"] = scope
        return "done"


class Careless(BaseAgent):
    """Saves what is no file."""

    name = "careless"

    async def run(self, task: str, scope: RunScope) -> list[str]:
        said: list[str] = []
        for name, media_type, data in (("", "text/csv", b"x"), ("a", "csv", b"x"), ("a", "text/csv", b"")):
            try:
                await scope.store.files.save(name, media_type, data)
            except Invalid as error:
                said.append(str(error))
        try:
            await scope.store.files.read(7)  # type: ignore[arg-type]
        except NotFound as error:
            said.append(str(error))
        return said


REGISTRY = AgentRegistry([Reader, Writer, Keeper, Careless])


async def told(runtime: Runtime, accepted: Accepted, user: str = "ada") -> DurableEvent:
    async with asyncio.timeout(20):
        events = [text async for seq, text in runtime.reader.follow(user, accepted.run_id, 0) if seq is not None]
    return decode(events[-1])


def test_a_run_reads_the_files_of_its_thread_and_of_no_other() -> None:
    async def main() -> None:
        async with harness(REGISTRY) as app:
            here, other = await thread(app.runtime), await thread(app.runtime)
            bobs = await thread(app.runtime, "bob")
            mine = await add(app.runtime, "ada", here, b"a,b")
            elsewhere = await add(app.runtime, "ada", other, b"elsewhere")
            theirs = await add(app.runtime, "bob", bobs, b"bob's")
            for named in (elsewhere.file_id, theirs.file_id, "fil_nothing"):
                outcome = await app.ask(named, thread_id=here)
                assert outcome.output == {
                    "found": {"a.csv": "a,b"},
                    "named": f"there is no file {named}",
                    "count": 3,
                }
            assert (await app.ask(mine.file_id, thread_id=here)).output["named"] == "a,b"

    run(main())


def test_a_scope_that_is_kept_reads_and_writes_nothing_after_its_run() -> None:
    async def main() -> None:
        async with harness(REGISTRY) as app:
            here = await thread(app.runtime)
            file = await add(app.runtime, "ada", here, b"x")
            await app.ask("go", agent="keeper", thread_id=here)
            files = kept.pop("scope").store.files
            with pytest.raises(ScopeClosed):
                await files.list()
            with pytest.raises(ScopeClosed):
                await files.read(file.file_id)
            with pytest.raises(ScopeClosed):
                await files.save("a.md", "text/markdown", b"x")

    run(main())


def test_what_is_no_file_is_refused_with_a_sentence() -> None:
    async def main() -> None:
        async with harness(REGISTRY) as app:
            assert (await app.ask("go", agent="careless")).output == [
                "the file has no name",
                "'csv' is no media type, such as text/csv",
                "the file is empty",
                "there is no file 7",
            ]

    run(main())


@pytest.mark.parametrize("journaled", [True, False])
def test_a_run_that_is_taken_up_sees_the_files_that_it_saw_and_writes_its_report_once(
    tmp_path: Path, *, journaled: bool
) -> None:
    async def main() -> None:
        settings = Settings.load(home=tmp_path, drain_seconds=0.1)
        kept["resting"] = asyncio.Event()
        async with Runtime(REGISTRY, settings) as runtime:
            here = await thread(runtime)
            await add(runtime, "ada", here, b"x", "first.csv")
            accepted = await runtime.admission.post(
                "ada", frozenset(), Post(content="go", agent="writer", thread_id=here)
            )
            async with asyncio.timeout(20):
                await kept["resting"].wait()
        del kept["resting"]
        if not journaled:  # as where the process was killed between file and journal
            async with opened(tmp_path) as stores:
                assert await raw(stores, "delete from steps where name = 'save_file' returning 1") == [(1,)]
        async with Runtime(REGISTRY, settings) as runtime:
            ended = await told(runtime, accepted)
            assert isinstance(ended, AgentCompleted), isinstance(ended, AgentFailed) and ended.message
            assert ended.output["before"] == ["first.csv"]
            assert ended.output["after"] == 2
            page = await runtime.stores.files.files("ada", here)
            assert page is not None
            assert [file.name for file in page.items] == ["first.csv", "report.md"]

    run(main(), limit=60)
