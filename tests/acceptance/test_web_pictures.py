"""Each page of the web app, light and dark, wide and narrow: no barrier, nothing wider than its window; and pictures.

`make screenshots` runs this and leaves the pictures in build/screenshots, to be looked at.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.acceptance.test_browser import PICTURES, chromium, page_of
from tests.support import web_agents, web_app
from tests.support.long_thread import add_long_thread
from tests.support.server import Server
from tests.support.web_app import ask, barriers, complaints, log_in, overflow

pytestmark = pytest.mark.browser

AGENTS = Path(web_agents.__file__)
SAMPLE = Path(__file__).parents[2] / "examples" / "usage_sample.csv"
SIZES = {"wide": {"width": 1280, "height": 860}, "narrow": {"width": 360, "height": 740}}


@pytest.fixture(autouse=True)
def built() -> None:
    web_app.must_be_built()


def opening(page: Page) -> None:
    page.get_by_label("Agent").select_option("payer")
    page.get_by_label("Message").fill("Something to ask")


def report(page: Page) -> None:
    page.get_by_label("Files").set_input_files(SAMPLE)
    ask(page, "Analyze my AI costs", "assistant")
    page.get_by_role("heading", name="What to do").wait_for()
    page.locator(".timeline:not([open]) > summary").click()
    page.locator(".call > summary").first.click()
    page.locator(".viewport").evaluate("viewport => viewport.scrollTo(0, 0)")
    page.locator("img.diagram").first.wait_for()


def writing(page: Page) -> None:
    ask(page, "Write", "writer")
    page.locator("img.diagram").wait_for()


def question(page: Page) -> None:
    ask(page, "Pay", "payer")
    page.get_by_label("Answer", exact=True).wait_for()


def approval(page: Page) -> None:
    ask(page, "Pay", "buyer")
    page.get_by_role("button", name="Approve").wait_for()


def queued(page: Page) -> None:
    approval(page)
    # The composer has no button to send with while a run is under way; Enter sends, and the run waits.
    page.get_by_label("Message").fill("And then this")
    page.get_by_label("Message").press("Enter")
    page.locator(".queued").wait_for()


def failed(page: Page) -> None:
    ask(page, "Try", "failing")
    page.locator(".ending.failed").wait_for()


def long_thread(page: Page) -> None:
    page.goto(page.url.split("#")[0] + "#/t/thr_long")
    page.get_by_text("Answer 300.").wait_for()
    page.locator(".viewport").evaluate("viewport => viewport.scrollBy(0, -1500)")
    page.get_by_role("button", name="Scroll to the newest").wait_for()


def threads(page: Page) -> None:
    menu = page.get_by_role("button", name="Conversations")
    if menu.is_visible():
        menu.click()
    page.get_by_role("link", name="Ten years of orders").hover()


SCENES: tuple[Callable[[Page], None], ...] = (
    opening,
    threads,
    report,
    writing,
    question,
    approval,
    queued,
    failed,
    long_thread,
)


@contextmanager
def looking(browser: Browser, url: str, errors: list[str], scheme: str, size: str) -> Iterator[Page]:
    options = {"color_scheme": scheme, "viewport": SIZES[size], "reduced_motion": "reduce"}
    with page_of(browser, errors, **options) as page:
        page.goto(url)
        page.get_by_label("Name").wait_for()
        yield page


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_barrier_or_is_wider_than_its_window(tmp_path, scheme, size):
    PICTURES.mkdir(parents=True, exist_ok=True)
    errors: list[str] = []
    found: dict[str, list[str]] = {}

    def look(page: Page, name: str) -> None:
        page.screenshot(path=PICTURES / f"app-{name}-{size}-{scheme}.png")
        wider = overflow(page)
        found[name] = barriers(page) + ([f"{wider} px wider than the window"] if wider else [])

    limits = {"user_tokens_per_day": 50_000, "runs_per_user": 20}
    with (
        Server(tmp_path, app=AGENTS, users={"ada": ()}, **limits) as server,
        chromium() as browser,
        looking(browser, server.url, errors, scheme, size) as page,
    ):
        add_long_thread(server.home, "ada", 600)
        look(page, "login")
        log_in(page, server.url)
        for scene in SCENES:
            page.goto(f"{server.url}/#/")
            page.reload()
            page.get_by_role("heading", name="What can I do for you?").wait_for()
            scene(page)
            look(page, scene.__name__.replace("_", "-"))
    assert {name: each for name, each in found.items() if each} == {}
    assert complaints(errors) == []
