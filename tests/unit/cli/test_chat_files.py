"""`netra chat` and the client with files, against a real server."""

import asyncio
import io
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.integration.http.serving import PASSWORD, Served, serving
from tests.unit.cli.command import Done, netra

from netra_apex import BaseAgent, RunScope
from netra_apex.cli.attaching import Attaching
from netra_apex.cli.pens import PlainPen
from netra_apex.cli.talk import usage_line
from netra_apex.client import Budget, Client, RequestRefused, UsageInfo
from netra_apex.core.events import AgentCompleted, Usage
from netra_apex.errors import Invalid

CSV = b"day,cost\n2026-01-01,1.5\n"


class Lister(BaseAgent):
    """Says what files there are."""

    name = "lister"

    async def run(self, task: str, scope: RunScope) -> str:
        names = [file.name for file in await scope.store.files.list()]
        return f"{task}: {', '.join(names) or 'no files'}"


def chat(served: Served, cwd: Path, *lines: str) -> Done:
    stdin = "".join(f"{line}\n" for line in (PASSWORD, *lines))
    return netra("chat", "--url", served.url, "--user", "ada", "--password-stdin", cwd=cwd, stdin=stdin)


def messages(served: Served) -> list[list[str]]:
    """The files of each message of the user's, over all threads, the latest thread first."""

    async def main() -> list[list[str]]:
        async with Client(served.url) as client:
            await client.login("ada", PASSWORD)
            found: list[list[str]] = []
            for thread in (await client.threads()).items:
                said = (await client.messages(thread.thread_id)).items
                found += [[file.name for file in each.files] for each in said if each.role == "user"]
            return found

    return asyncio.run(main())


def test_what_is_attached_goes_with_the_next_message_and_with_no_other(tmp_path: Path) -> None:
    (tmp_path / "usage.csv").write_bytes(CSV)
    (tmp_path / "two words.md").write_bytes(b"# hi")
    with serving(tmp_path / "served", agents=[Lister]) as served:
        done = chat(served, tmp_path, "/attach usage.csv", "/attach 'two words.md'", "/attach", "first", "second")
        assert (done.code, done.out) == (0, "first: usage.csv, two words.md\nsecond: usage.csv, two words.md\n")
        assert f"attached usage.csv ({len(CSV)} bytes); it goes with your next message" in done.err
        assert "two words.md (4 bytes)" in done.err
        assert messages(served) == [["usage.csv", "two words.md"], []]


def test_what_is_attached_stays_in_its_conversation(tmp_path: Path) -> None:
    (tmp_path / "usage.csv").write_bytes(CSV)
    with serving(tmp_path / "served", agents=[Lister]) as served:
        done = chat(served, tmp_path, "/attach usage.csv", "/new", "/attach", "hi")
        assert (done.code, done.out) == (0, "hi: no files\n")
        assert "what was attached stays in the other conversation" in done.err
        assert "nothing is attached" in done.err


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("none.csv", "there is no file none.csv"),
        (".", ". is a directory, not a file"),
        ("empty.csv", "empty.csv is empty"),
        ("large.csv", "large.csv has 2001 bytes; 2000 is the most here"),
        ("page.html", "page.html cannot be attached: a file of type text/html is not taken here"),
        ("fake.png", "fake.png cannot be attached: the file's name says image/png, and its content does not begin"),
        ("/dev/null", "/dev/null is no ordinary file"),
        ("~nobody-of-this-name/a.csv", "cannot be attached"),
        ("x" * 5000, "cannot be attached: File name too long"),
        ("a\x1b[31m.csv", "there is no file a\N{REPLACEMENT CHARACTER}[31m.csv"),
    ],
)
def test_what_cannot_be_attached_is_a_sentence_and_in_a_pipe_the_end(
    tmp_path: Path, module_served: Served, said: str, why: str
) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "large.csv").write_bytes(b"x" * 2001)
    (tmp_path / "page.html").write_bytes(b"<p>")
    (tmp_path / "fake.png").write_bytes(CSV)
    done = chat(module_served, tmp_path, f"/attach {said}", "never sent")
    assert (done.code, done.out) == (1, "")
    assert why in done.err
    assert "Traceback" not in done.err


def test_a_file_that_is_refused_leaves_no_second_conversation(tmp_path: Path, module_served: Served) -> None:
    (tmp_path / "page.html").write_bytes(b"<p>")
    (tmp_path / "usage.csv").write_bytes(CSV)

    async def main() -> None:
        about = io.StringIO()
        async with Client(module_served.url) as client:
            await client.login("ada", PASSWORD)
            attaching = Attaching(client, PlainPen(io.StringIO(), about))
            first, attached = await attaching.attach(str(tmp_path / "page.html"), None)
            assert first is not None
            assert not attached
            assert await attaching.attach(str(tmp_path / "usage.csv"), first) == (first, True)
            with pytest.raises(RequestRefused, match="there is no thread"):
                await attaching.attach(str(tmp_path / "usage.csv"), "thr_none")
        assert "page.html cannot be attached" in about.getvalue()

    asyncio.run(main())


def test_usage_is_a_line_that_counts_one_request_as_one() -> None:
    midnight = datetime(2026, 1, 2, tzinfo=UTC)

    def line(requests: int) -> str:
        used = Usage(input_tokens=1000, output_tokens=1, requests=requests)
        return usage_line(UsageInfo("2026-01-01", used, Budget(tokens=5), Budget(), midnight))

    assert line(1) == "1,001 tokens in 1 request today; 5 tokens left until 2026-01-02 00:00 UTC"
    assert line(2).startswith("1,001 tokens in 2 requests today;")


@pytest.fixture(scope="module")
def module_served(tmp_path_factory: pytest.TempPathFactory):
    with serving(tmp_path_factory.mktemp("served"), agents=[Lister], upload_bytes=2000) as served:
        yield served


def test_the_client_uploads_files_and_bytes_and_sends_them_along(tmp_path: Path) -> None:
    path = tmp_path / "kösten.csv"
    path.write_bytes(CSV * 100_000)

    async def main(url: str) -> None:
        async with Client(url) as client, asyncio.timeout(20):
            await client.login("ada", PASSWORD)
            thread_id = (await client.new_thread()).thread_id
            large = await client.upload(thread_id, path)
            assert (large.name, large.size) == ("kösten.csv", len(CSV) * 100_000)
            small = await client.upload(thread_id, b"# hi", "../notes.md")
            assert [file.name for file in (await client.files(thread_id)).items] == ["kösten.csv", "notes.md"]
            with pytest.raises(Invalid, match="no name"):
                await client.upload(thread_id, b"x")
            with pytest.raises(FileNotFoundError):
                await client.upload(thread_id, tmp_path / "none")
            with pytest.raises(RequestRefused, match="there is no thread"):
                await client.upload("thr_none", b"x", "a.txt")
            async with client.connect() as connection:
                run = await connection.send("hi", thread_id=thread_id, files=[large.file_id, small.file_id])
                frames = [frame async for frame in run]
                assert isinstance(run.ending, AgentCompleted), frames
                with pytest.raises(RequestRefused, match="there is no file fil_none"):
                    await connection.send("hi", thread_id=thread_id, files=["fil_none"])
                with pytest.raises(RequestRefused, match="thread_id is missing"):
                    await connection.send("hi", files=[small.file_id])
            (said, _) = (await client.messages(thread_id)).items
            assert said.files == (large, small)

    with serving(tmp_path / "served", agents=[Lister]) as served:
        asyncio.run(main(served.url))
