"""The web app in a real browser: somebody logs in, asks, sees what is done, and hardly notices that a server died."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.test_browser import PICTURES, chromium, page_of
from tests.support.server import PASSWORD, Server

from netra_apex.server import web

pytestmark = pytest.mark.browser

SAMPLE = Path(__file__).parents[2] / "examples" / "usage_sample.csv"
APP = '''
from netra_apex import AgentRegistry, BaseAgent, ask_user, tool


@tool(needs_approval=True)
async def pay(amount: int) -> str:
    """Pays."""
    return f"paid {amount}"


class Payer(BaseAgent):
    """Pays what it is told to."""

    name = "payer"

    async def run(self, task, scope):
        amount = await scope.tools.call(ask_user, "How much?")
        return await scope.tools.call(pay, int(amount))


registry = AgentRegistry([Payer])
'''


@pytest.fixture(autouse=True)
def built() -> None:
    """`make test` builds the app before."""
    if not web.is_built():
        (pytest.fail if os.environ.get("CI") else pytest.skip)("the web app is not built: make ui")


@contextmanager
def logged_in(server: Server, **options) -> Iterator[tuple[Page, list[str]]]:
    errors: list[str] = []
    with chromium() as browser, page_of(browser, errors, **options) as page:
        log_in(page, server)
        yield page, errors


def log_in(page: Page, server: Server) -> None:
    page.goto(server.url)
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="What can I do for you?").wait_for()


def ask(page: Page, message: str) -> None:
    page.get_by_label("Message").fill(message)
    page.get_by_role("button", name="Send", exact=True).click()


def complaints(errors: list[str]) -> list[str]:
    """What the console complains of, but for the question who is logged in, whose answer is nobody."""
    return [error for error in errors if "401" not in error]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_somebody_uploads_a_csv_and_sees_what_each_agent_does_and_the_report(tmp_path, scheme):
    PICTURES.mkdir(parents=True, exist_ok=True)
    with (
        Server(tmp_path, app=None, users={"ada": ()}) as server,
        logged_in(server, color_scheme=scheme, viewport={"width": 1200, "height": 900}) as (page, errors),
    ):
        page.screenshot(path=PICTURES / f"web-opening-{scheme}.png")
        page.get_by_label("Files").set_input_files(SAMPLE)
        ask(page, "Analyze my AI costs")
        page.get_by_role("heading", name="What to do").wait_for()
        page.locator(".timeline > summary").click()
        for agent in ("triage", "data", "optimisation", "actions", "report"):
            expect(page.get_by_role("list", name=agent, exact=True)).to_be_visible()
        page.screenshot(path=PICTURES / f"web-report-{scheme}.png")
        page.set_viewport_size({"width": 390, "height": 800})
        page.screenshot(path=PICTURES / f"web-narrow-{scheme}.png")
        assert complaints(errors) == []


def test_an_answer_goes_on_where_it_was_when_its_server_was_killed_and_is_back(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, _):
        server.settings["port"] = int(server.url.rsplit(":", 1)[1])
        ask(page, "Tell me how runs survive a crash")
        expect(page.locator(".message.assistant")).to_contain_text("Here is what")
        server.kill()
        expect(page.get_by_role("status").first).to_contain_text("coming back")
        server.start()
        page.locator(".timeline > summary .state.done").wait_for()
        ((run_id,),) = server.rows("select run_id from runs")
        told = server.events(run_id)
        assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
        answer = next(event["content"] for event in told if event["type"] == "message_completed")
        shown = page.locator(".message.assistant .markdown").inner_text()
        assert shown.split() == answer.split()


def test_two_tabs_of_a_conversation_are_in_step(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, errors):
        ask(page, "Hello")
        page.locator(".timeline > summary .state.done").wait_for()
        other = page.context.new_page()
        other.goto(page.url)
        other.locator(".message.assistant").wait_for()
        ask(page, "What is 17*23?")
        for tab in (page, other):
            expect(tab.locator(".message.assistant").last).to_contain_text("391")
        assert complaints(errors) == []


def test_a_question_is_answered_and_a_call_approved_in_their_place(tmp_path):
    with (
        Server(tmp_path, app=write(tmp_path), users={"ada": ()}) as server,
        logged_in(server) as (page, errors),
    ):
        ask(page, "Pay")
        page.get_by_label("Answer").fill("12")
        page.get_by_role("button", name="Answer").click()
        expect(page.locator(".approval")).to_contain_text("12")
        page.get_by_role("button", name="Approve").click()
        expect(page.locator(".message.assistant").last).to_contain_text("paid 12")
        assert complaints(errors) == []


def test_a_running_answer_is_stopped(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, _):
        ask(page, "Tell me how runs survive a crash")
        page.get_by_role("button", name="Stop").click()
        expect(page.locator(".ending")).to_have_text("Stopped.")
        ((status,),) = server.rows("select status from runs")
        assert status == "cancelled"


def write(folder: Path) -> Path:
    """The application with something to ask and to approve."""
    path = folder / "payer.py"
    path.write_text(APP)
    return path
