"""The operator's page in a real browser: what runs and waits, what is wrong and why, anybody's run played again."""

import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.test_browser import PICTURES, chromium, page_of
from tests.support.cluster import cluster
from tests.support.server import PASSWORD, Server
from tests.support.wire_model import WireModel

from netra_apex.server import web

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
SECTIONS = {"Now": "", "Golden path": "/levels", "Runs": "/runs", "Processes": "/processes", "Users": "/users"}
USERS = {"ada": (), "bob": (), "root": {"admin"}}
APP = '''
import asyncio

from netra_apex import AgentRegistry, BaseAgent, ChatAgent, tool


@tool(needs_approval=True)
async def pay(amount: int) -> str:
    """Pays."""
    return f"paid {amount}"


@tool
async def find(name: str) -> str:
    """Finds."""
    if name == "nobody":
        raise ValueError("there is no such person")
    return f"{name} lives here"


class Clerk(BaseAgent):
    """Finds whom it is asked for."""

    name = "clerk"

    async def run(self, task, scope):
        await scope.think("looking through the register")
        return await scope.tools.call(find, task)


class Payer(BaseAgent):
    """Pays."""

    name = "payer"

    async def run(self, task, scope):
        return await scope.tools.call(pay, int(task))


class Waiter(BaseAgent):
    """Waits until it is stopped."""

    name = "waiter"

    async def run(self, task, scope):
        await scope.think("waiting")
        await asyncio.Event().wait()


class Talker(ChatAgent):
    """Asks the model."""

    name = "talker"
    instructions = "Answer."


registry = AgentRegistry([Clerk, Payer, Waiter, Talker])
'''


@pytest.fixture(autouse=True)
def built() -> None:
    """`make test` builds the app before."""
    if not web.is_built() or not AXE.exists():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the web app is not built: make ui")


class User:
    """Somebody who asks by HTTP, while another looks on."""

    def __init__(self, url: str, name: str) -> None:
        self.url = url
        self.token = None
        self.token = self.call("/api/auth/login", {"username": name, "password": PASSWORD})["access_token"]

    def call(self, path: str, body: object = None) -> dict:
        """What a route answers; a POST where there is a body."""
        headers = {"Content-Type": "application/json"}
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data, headers), timeout=20) as answer:
            return json.load(answer)

    def run(self, agent: str, content: str) -> str:
        """A run in a thread of its own."""
        thread_id = self.call("/api/threads", {"title": "A thread"})["thread_id"]
        return self.call(f"/api/threads/{thread_id}/runs", {"content": content, "agent": agent})["run_id"]

    def ended(self, run_id: str) -> str:
        """How a run ended."""
        return self.until(run_id, "completed", "failed", "cancelled")

    def until(self, run_id: str, *wanted: str) -> str:
        """The run's status once it is one of these."""
        until = time.monotonic() + 20
        while (status := self.call(f"/api/runs/{run_id}")["status"]) not in wanted:
            assert time.monotonic() < until, status
            time.sleep(0.02)  # nobody tells a test of a status
        return status


@contextmanager
def watching(url: str, name: str = "root", errors: list[str] | None = None, **options) -> Iterator[Page]:
    """A page at `/admin` of somebody who logged in there."""
    with chromium() as browser, page_of(browser, errors, **options) as page:
        page.goto(url + "/admin")
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        if name == "root":
            page.get_by_text("Live, ").wait_for()
        yield page


@contextmanager
def served(folder: Path, **settings) -> Iterator[Server]:
    path = folder / "registry.py"
    path.write_text(APP)
    with Server(folder, app=path, users=USERS, **settings) as server:
        yield server


def tile(page: Page, name: str):
    return page.locator(".tiles > div", has=page.get_by_text(name, exact=True)).locator("dd")


def go(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Operation").get_by_role("link", name=name, exact=True).click()


def problem(page: Page, *said: str) -> float:
    """Waits until a problem is told with all of this; how many seconds that took."""
    began = time.monotonic()
    found = page.get_by_role("log", name="Problems").get_by_role("listitem")
    for each in said:
        found = found.filter(has_text=each)
    found.first.wait_for(timeout=20_000)
    return time.monotonic() - began


def serious(page: Page) -> list[str]:
    """What axe finds that keeps somebody from using the page."""
    # Not as a script of the page, whose policy lets none in but its own files.
    page.evaluate(f"() => {{ {AXE.read_text()} }}")
    found = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def test_the_page_shows_who_runs_who_queues_and_who_is_waited_for(tmp_path):
    errors: list[str] = []
    asked: list[str] = []
    with served(tmp_path, runs_per_user=1) as server:
        ada, bob = User(server.url, "ada"), User(server.url, "bob")
        waits = ada.run("payer", "12")
        for _ in range(3):
            bob.run("waiter", "wait")
        with watching(server.url, errors=errors) as page:
            page.on("request", lambda request: asked.append(request.url))
            expect(tile(page, "Running")).to_have_text(re.compile("^1 "))
            expect(tile(page, "Queued")).to_have_text(re.compile(r"^2 for \d"))
            expect(tile(page, "Approvals waiting")).to_have_text(re.compile(r"^1 for \d"))
            expect(tile(page, "Processes")).to_have_text(re.compile("^1 "))
            users = page.get_by_role("region", name="Users with unfinished runs")
            expect(users.get_by_role("row", name="bob")).to_contain_text("2")
            (approval,) = ada.call("/api/approvals")["items"]
            ada.call(f"/api/approvals/{approval['approval_id']}", {"decision": "approve"})
            assert ada.ended(waits) == "completed"
            expect(tile(page, "Approvals waiting")).to_have_text(re.compile("^0 "))
            expect(users.get_by_role("row", name="ada")).to_have_count(0)
            go(page, "Runs")
            expect(page.get_by_role("row", name="completed")).to_contain_text("payer")
            page.get_by_label("Status").select_option("queued")
            expect(page.get_by_role("region", name="Runs").get_by_role("row")).to_have_count(3)
            assert all(url.startswith((server.url, "data:")) for url in asked)
        assert server.rows("select action from audit") == [("watch",)]
    assert [error for error in errors if "401" not in error] == []


def test_whoever_is_no_administrator_finds_no_such_page(tmp_path):
    asked: list[str] = []
    with served(tmp_path) as server, watching(server.url, "ada") as page:
        page.on("request", lambda request: asked.append(request.url))
        page.get_by_role("heading", name="What can I do for you?").wait_for()
        page.goto(server.url + "/admin#/admin/users")
        page.get_by_role("heading", name="What can I do for you?").wait_for()
        expect(page.get_by_role("link", name="Operation")).to_have_count(0)
        assert not [url for url in asked if "api/admin" in url or "Admin" in url]
        for path in ("overview", "users", "runs", "runs/run_1", "runs/run_1/events", "audit"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                User(server.url, "ada").call(f"/api/admin/{path}")
        assert server.rows("select * from audit") == []


def test_the_golden_path_is_shown_as_it_was_kept_and_why_not(tmp_path):
    with served(tmp_path) as server:
        ada = User(server.url, "ada")
        for whom in ("ada", "ada", "bob", "nobody"):
            ada.ended(ada.run("clerk", whom))
        with watching(server.url) as page:
            go(page, "Golden path")
            expect(tile(page, "Success")).to_have_text(re.compile("^75.00 %"))
            expect(tile(page, "Runs")).to_have_text(re.compile("^4"))
            expect(tile(page, "Tool failures")).to_have_text(re.compile("^1"))
            causes = page.get_by_role("region", name="Errors by cause")
            expect(causes.get_by_role("row", name="agent_error")).to_contain_text("1")
            events = page.get_by_role("region", name="The five events")
            expect(events.get_by_role("row", name="tool_completed")).to_contain_text("100 %")
            expect(page.get_by_role("region", name="By agent").get_by_role("row", name="clerk")).to_contain_text("4")
            expect(page.get_by_role("region", name="By user").get_by_role("row", name="ada")).to_contain_text("4")
            assert page.locator(".recharts-surface path").count() > 5


def test_a_run_is_opened_and_played_again_event_by_event(tmp_path):
    with served(tmp_path) as server:
        ada = User(server.url, "ada")
        run_id = ada.run("clerk", "nobody")
        assert ada.ended(run_id) == "failed"
        told = server.events(run_id)
        with watching(server.url) as page:
            go(page, "Runs")
            page.get_by_role("row", name="clerk").get_by_role("link").click()
            events = page.get_by_role("list", name="Events").get_by_role("listitem")
            expect(events).to_have_count(len(told))
            expect(page.locator(".facts")).to_contain_text("ada")
            replay = page.get_by_role("group", name="Replay")
            timeline = page.locator(".timeline")
            expect(timeline).to_contain_text("find")
            expect(page.locator("p.failed").last).to_contain_text("there is no such person")
            replay.get_by_role("button", name="First event").click()
            expect(timeline).not_to_contain_text("find")
            expect(replay).to_contain_text(f"event 1 of {len(told)}")
            moment = page.get_by_label("Moment")
            moment.focus()
            for number in range(2, len(told) + 1):
                page.keyboard.press("ArrowRight")
                expect(replay).to_contain_text(f"event {number} of {len(told)}")
                expect(page.get_by_label(f"Event {number}", exact=True)).to_contain_text(told[number - 1]["type"])
            replay.get_by_role("button", name="First event").click()
            replay.get_by_label("Speed").select_option("16")
            replay.get_by_role("button", name="Play").click()
            expect(replay).to_contain_text(f"event {len(told)} of {len(told)}")
            expect(replay.get_by_role("button", name="Play")).to_be_visible()
        rows = server.rows("select action, subject from audit order by at, audit_id")
        assert sorted(rows) == [("read_events", "ada"), ("watch", None)]


def test_a_run_is_cancelled_and_a_user_disabled_each_asked_twice(tmp_path):
    with served(tmp_path) as server:
        ada = User(server.url, "ada")
        run_id = ada.run("waiter", "wait")
        with watching(server.url) as page:
            page.goto(f"{server.url}/#/admin/runs/{run_id}")
            page.get_by_role("button", name="Cancel run").click()
            page.get_by_role("button", name="No").click()
            page.get_by_role("button", name="Cancel run").click()
            page.get_by_role("button", name="Really cancel run").click()
            assert ada.ended(run_id) == "cancelled"
            expect(page.locator(".facts")).to_contain_text("cancelled")
            go(page, "Users")
            row = page.get_by_role("row", name="ada")
            row.get_by_role("button", name="Disable ada").click()
            row.get_by_role("button", name="Really disable ada").click()
            expect(row).to_contain_text("disabled")
            with pytest.raises(urllib.error.HTTPError, match="401"):
                ada.call("/api/threads")
            row.get_by_role("button", name="Enable ada").click()
            row.get_by_role("button", name="Really enable ada").click()
            expect(row).to_contain_text("enabled")
            User(server.url, "ada")
            expect(page.get_by_role("row", name="root").get_by_role("button")).to_have_count(0)
            go(page, "Audit")
            audit = page.get_by_role("region", name="Audit")
            for action in ("cancel run", "disable user", "enable user"):
                expect(audit.get_by_role("row", name=action)).to_contain_text("ada")


def test_a_process_is_drained_and_resumed(tmp_path):
    with served(tmp_path) as server:
        ada = User(server.url, "ada")
        run_id = ada.run("waiter", "wait")
        with watching(server.url) as page:
            go(page, "Processes")
            page.get_by_role("button", name="Drain process").click()
            page.get_by_role("button", name="Really drain process").click()
            state = page.locator("tbody .status")
            expect(state).to_have_text("draining")
            with pytest.raises(urllib.error.HTTPError, match="503"):
                ada.run("clerk", "ada")
            ada.call(f"/api/runs/{run_id}/cancel", {})
            expect(state).to_have_text("drained")
            page.get_by_role("button", name="Resume process").click()
            page.get_by_role("button", name="Really resume process").click()
            expect(state).to_have_text("works")
            assert ada.ended(ada.run("clerk", "ada")) == "completed"


def test_a_model_that_is_gone_is_told_with_its_cause_and_so_are_runs_that_fail_of_it(tmp_path):
    with WireModel() as wire, served(tmp_path, wire=wire) as server:
        ada = User(server.url, "ada")
        with watching(server.url) as page:
            expect(page.get_by_role("log", name="Problems").get_by_role("listitem")).to_have_count(0)
            wire.__exit__(None, None, None)
            print(f"model gone: {problem(page, 'Model does not answer', wire.address):.1f} s")
            run_id = ada.run("talker", "hello")
            print(f"runs fail: {problem(page, 'Runs fail', 'model_unavailable'):.1f} s")
            assert ada.ended(run_id) == "failed"


def test_a_server_that_was_killed_is_told_and_so_is_what_it_left_when_it_is_back(tmp_path):
    with served(tmp_path) as server:
        server.settings["port"] = int(server.url.rsplit(":", 1)[1])
        run_id = User(server.url, "ada").run("waiter", "wait")
        User(server.url, "ada").until(run_id, "running")
        with watching(server.url) as page:
            expect(tile(page, "Running")).to_have_text(re.compile("^1 "))
            server.kill()
            print(f"server killed: {problem(page, 'Server away', 'it ended, or the network is cut'):.1f} s")
            server.start()
            problem(page, "Process lost", "it ended without a word", "its 1 runs go on")
            expect(tile(page, "Running")).to_have_text(re.compile("^1 "))
            lost = page.get_by_role("region", name="What happened to processes").get_by_role("row", name="lost")
            expect(lost).to_have_count(1)


def test_a_worker_that_is_killed_and_a_database_that_is_away_are_told_with_their_cause(tmp_path, postgres, wire):
    with cluster(tmp_path, postgres, wire=wire, people=1) as many:
        door, workers = many.api(), [many.worker(), many.worker()]
        person = User(door.url, many.person())
        run_id = person.run("ticker", "2000 50")
        person.until(run_id, "running")
        with watching(door.url) as page:
            expect(tile(page, "Processes")).to_have_text(re.compile("^3 "))
            expect(tile(page, "Running")).to_have_text(re.compile("^1 "))
            victim = many.holder(run_id)
            assert victim in workers
            victim.kill()
            print(f"worker killed: {problem(page, 'Process lost', victim.executor[-8:], 'runs go on'):.1f} s")
            go(page, "Processes")
            expect(page.get_by_role("region", name="Processes").locator("tbody tr")).to_have_count(2)
            go(page, "Runs")
            other = next(each for each in workers if each is not victim)
            expect(page.get_by_role("row", name="ticker")).to_contain_text(other.executor[-8:])
            postgres.stop("immediate")
            print(f"database away: {problem(page, 'Database away', 'cannot be reached'):.1f} s")
            expect(page.get_by_role("row", name="ticker")).to_be_visible()  # what was known stays
            postgres.start()
            page.get_by_text("Database away").wait_for(state="hidden", timeout=30_000)
            person.call(f"/api/runs/{run_id}/cancel", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_section_can_be_used_by_everybody_wide_and_narrow(tmp_path, scheme):
    PICTURES.mkdir(parents=True, exist_ok=True)
    with served(tmp_path, runs_per_user=2) as server:
        ada, bob = User(server.url, "ada"), User(server.url, "bob")
        told = ada.run("clerk", "ada")
        for run_id in (told, ada.run("clerk", "nobody")):
            ada.ended(run_id)
        ada.run("payer", "12")
        for _ in range(4):
            bob.run("waiter", "wait")
        with watching(server.url, color_scheme=scheme, viewport={"width": 1280, "height": 900}) as page:
            page.locator(".charts").wait_for()
            for name, path in (SECTIONS | {"Run": f"/runs/{told}", "Audit": "/audit"}).items():
                page.goto(f"{server.url}/#/admin{path}")
                page.get_by_role("heading", level=1).wait_for()
                page.locator("main .table, main .events").first.wait_for()
                for width in (1280, 390):
                    page.set_viewport_size({"width": width, "height": 900})
                    slug = name.lower().replace(" ", "-")
                    size = "wide" if width > 1000 else "narrow"
                    page.screenshot(path=PICTURES / f"admin-{slug}-{size}-{scheme}.png", full_page=True)
                    overflow = page.evaluate("document.documentElement.scrollWidth - innerWidth")
                    assert overflow <= 0, (name, width, overflow)
                    assert serious(page) == [], (name, width)
