"""A thread of ten thousand messages in the web app: it opens at its end, and is read back to its beginning."""

import pytest
from playwright.sync_api import Page, expect
from tests.support import web_app
from tests.support.long_thread import add_long_thread
from tests.support.server import Server
from tests.support.web_app import ask, complaints, logged_in, until

pytestmark = pytest.mark.browser

MESSAGES = 10_000
LAST = MESSAGES // 2
ROWS = 40  # a screen has five
# Where the first turn that one sees stands, in pixels from the top of the window.
PLACE = """
() => {
  const top = document.querySelector(".viewport").getBoundingClientRect().top;
  const turn = [...document.querySelectorAll(".turn")].find((each) => each.getBoundingClientRect().bottom > top);
  return [turn.querySelector(".said").textContent, Math.round(turn.getBoundingClientRect().top)];
}
"""


@pytest.fixture(autouse=True)
def built() -> None:
    web_app.must_be_built()


def open_thread(page: Page, server: Server) -> None:
    add_long_thread(server.home, "ada", MESSAGES)
    page.goto(f"{server.url}/#/t/thr_long")
    page.get_by_text(f"Answer {LAST}.").wait_for()
    settled(page)


def settled(page: Page) -> list[object]:
    """Where one is, once nothing moves any more: rows are measured as they come in, on a busy machine late."""
    held, place = 0, page.evaluate(PLACE)
    for _ in range(600):
        page.evaluate("() => new Promise((done) => requestAnimationFrame(done))")
        now = page.evaluate(PLACE)
        held, place = (held + 1 if now == place else 0), now
        if held == 20:
            return place
    raise AssertionError("the page does not come to rest")


def up(page: Page, pixels: int) -> None:
    page.locator(".viewport").evaluate("(viewport, by) => viewport.scrollBy(0, -by)", pixels)


def test_ten_thousand_messages_are_read_back_to_the_first_and_few_are_in_the_page_at_once(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, errors):
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/messages" in request.url else None)
        open_thread(page, server)
        expect(page.get_by_text(f"Answer {LAST}.")).to_be_in_viewport()
        # The newest page, and perhaps one ahead of the reader: not a hundred.
        assert len(asked) <= 2, asked
        most = 0
        for _ in range(2000):
            up(page, 20_000)
            most = max(most, page.locator(".turn").count())
            if page.get_by_text("Question 1:").count():
                break
        expect(page.get_by_text("Question 1:")).to_be_visible()
        expect(page.locator(".earlier")).to_have_count(0)
        assert most <= ROWS
        assert page.evaluate("document.querySelectorAll('*').length") < 2000
        page.get_by_role("button", name="Scroll to the newest").click()
        expect(page.get_by_text(f"Answer {LAST}.")).to_be_in_viewport(timeout=15_000)
        assert complaints(errors) == []


def test_a_readers_place_stays_when_earlier_messages_come_and_when_an_answer_grows(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, _):
        open_thread(page, server)
        held = []
        page.route("**/messages?*", lambda route: held.append(route))
        up(page, 100_000)  # to the first that is known
        until(page, "document.querySelector('.viewport').scrollTop === 0")
        until(page, "document.querySelector('.said') !== null")
        up(page, -200)
        before = settled(page)
        for route in held:
            route.continue_()
        page.unroute("**/messages?*")
        assert len(held) == 1
        until(page, "document.querySelector('.viewport').scrollTop > 2000")
        after = settled(page)
        assert after[0] == before[0]
        assert abs(after[1] - before[1]) <= 2

        ask(page, "What is 17*23?")
        expect(page.locator(".message.assistant").last).to_contain_text("391")
        expect(page.locator(".message.assistant").last).to_be_in_viewport()
        up(page, 3000)
        page.get_by_role("button", name="Scroll to the newest").wait_for()
        place = settled(page)
        other = page.context.new_page()
        other.goto(page.url)
        ask(other, "Hello")
        other.locator(".timeline > summary .state.done").wait_for()
        until(page, "document.querySelector('[role=feed]').getAttribute('aria-busy') === 'false'")
        assert settled(page) == place
