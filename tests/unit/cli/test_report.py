"""`netra report` on a real database, beside a server or without one."""

import asyncio
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.support.stores import accept as accepted_by
from tests.support.stores import context_of, stamped
from tests.unit.cli.command import netra

from netra_apex.core.budgets import Bill
from netra_apex.core.events import AgentCompleted, AgentFailed, AgentStarted, AgentThinking
from netra_apex.core.messages import NO_USAGE, Usage
from netra_apex.settings import Settings
from netra_apex.stores import open_stores
from netra_apex.stores.sqlite import SQLite

EVIL = "<script>alert(1)</script>|\x1b[31m"
BEGIN = (AgentStarted(task="a private question"), AgentThinking(text="a private thought", step=1))
DONE = AgentCompleted(output="a private answer", usage=NO_USAGE, duration_ms=1)
BROKE = AgentFailed(code="model_unavailable", message="a private address", retryable=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A home with runs of two users: two good ones now, one that failed, one of the day before."""

    async def main() -> None:
        async with open_stores(Settings(home=tmp_path / "home")) as stores:
            bill = Bill(usage=Usage(900, 100, 2, 0.25), charged=False, model=EVIL)
            for user, ending in (("ada", DONE), ("ada", DONE), ("bob", BROKE), ("eve", DONE)):
                accepted = await accepted_by(stores, user)
                await stores.runs.append(context_of(accepted, user), stamped(*BEGIN, ending), bill=bill)
            earlier = "update runs set ended_at = ended_at - 86400000, created_at = created_at - 86400000"
            database = stores.database
            assert isinstance(database, SQLite)
            await database.file.write(lambda connection: connection.execute(f"{earlier} where user_id = 'eve'"))

    asyncio.run(main())
    return tmp_path


def test_a_report_says_whether_the_path_held_why_not_and_how_it_was_before(folder: Path) -> None:
    done = netra("report", cwd=folder)
    assert (done.code, done.err) == (0, "")
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    assert any("did NOT hold: 66.666 % of 3 runs" in line and "before: 100 %" in line for line in lines)
    assert "model_unavailable 1 yes the model could not be reached" in lines
    assert "success 66.666 % 100 % -33.3 points" in lines
    assert "users 2 1 +100.0%" in lines
    assert "tokens 3,000 1,000 +200.0%" in lines
    assert "cost $0.7500 $0.2500 +200.0%" in lines
    assert any(line.startswith("model_unreachable 1 ") for line in lines)
    assert "\x1b" not in done.out
    assert "private" not in done.out


def test_json_has_the_same_figures_as_the_operators_page(folder: Path) -> None:
    done = netra("report", "--since", "7d", "--json", cwd=folder)
    told = json.loads(done.out)
    assert (told["total"]["runs"], told["total"]["good"], told["before"]["runs"]) == (4, 3, 0)
    assert [part["name"] for part in told["users"]] == ["ada", "bob", "eve"]
    assert [each["kind"] for each in told["blockers"]] == ["model_unreachable"]
    assert {"since", "until", "bucket_seconds", "golden_path", "series", "events", "burn_rates", "now"} <= told.keys()
    assert netra("report", "--since", "7d", "--format", "json", cwd=folder).out.startswith("{")


def test_markdown_is_made_of_tables_that_what_people_named_cannot_break(folder: Path) -> None:
    done = netra("report", "--format", "markdown", cwd=folder)
    assert done.out.startswith("# Netra report, ")
    tables = [line for line in done.out.splitlines() if line.startswith("|")]
    assert any("&lt;script>" in line and "\\|" in line for line in tables)
    assert "<script" not in done.out


class Page(HTMLParser):
    """What a page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href") or name.startswith("on")]


def test_html_is_one_file_with_charts_and_neither_scripts_nor_links(folder: Path) -> None:
    done = netra("report", "--format", "html", "--output", "report.html", cwd=folder)
    assert (done.code, done.out, done.err) == (0, "", "written to report.html\n")
    text = (folder / "report.html").read_text("utf-8")
    page = Page(text)
    assert page.tags.count("svg") == 2
    assert {"rect", "polyline", "table"} <= set(page.tags)
    assert "script" not in page.tags
    assert page.links == []
    assert "url(" not in text
    assert "&lt;script&gt;" in text


def test_a_home_without_a_run_has_a_report_all_the_same(tmp_path: Path) -> None:
    assert netra("user", "add", "ada", "--password-stdin", cwd=tmp_path, stdin="a long password\n").code == 0
    for format_ in ("text", "markdown", "html", "json"):
        done = netra("report", "--format", format_, cwd=tmp_path)
        assert (done.code, done.err) == (0, "")
    assert "No run that counts ended" in netra("report", cwd=tmp_path).out


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--since", "yesterday"), "since 'yesterday' is no period"),
        (("--since", "91d"), "90 days at most"),
        (("--format", "pdf"), "pdf"),
        (("--json", "--format", "html"), "two formats"),
        (("--output", "no/such/folder.md"), "cannot be written"),
    ],
)
def test_what_cannot_be_reported_is_wrong_usage_and_says_why(folder: Path, args: tuple[str, ...], said: str) -> None:
    done = netra("report", *args, cwd=folder)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_without_a_database_it_says_so_and_makes_none(tmp_path: Path) -> None:
    done = netra("report", cwd=tmp_path)
    assert done.code == 1
    assert "there is no database" in done.err
    assert not (tmp_path / "home").exists()
