"""The web app without a mouse and without eyes: everything by keys, a focus that is seen, and what is said aloud."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.test_browser import chromium, page_of
from tests.support import web_agents, web_app
from tests.support.server import PASSWORD, Server

pytestmark = pytest.mark.browser

AGENTS = Path(web_agents.__file__)
TABS = 40
# Whether one sees what has the focus: by its own outline, or by that of the frame around a field without one.
SEEN = """
() => [document.activeElement, document.activeElement.closest("form")].some(
  (each) => each !== null && each !== document.body && getComputedStyle(each).outlineStyle !== "none"
    && parseFloat(getComputedStyle(each).outlineWidth) >= 1,
)
"""


@pytest.fixture(autouse=True)
def built() -> None:
    web_app.must_be_built()


def tab_to(page: Page, role: str, name: str, key: str = "Tab") -> None:
    """Presses the key until this has the focus, which each time has to be seen."""
    wanted = page.get_by_role(role, name=name, exact=True)
    wanted.wait_for()
    for _ in range(TABS):
        page.keyboard.press(key)
        if wanted.evaluate("element => element === document.activeElement"):
            assert page.evaluate(SEEN), f"nobody sees that {name} has the focus"
            return
        if page.evaluate("document.activeElement !== document.body"):
            assert page.evaluate(SEEN), page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
    raise AssertionError(f"{name} cannot be reached by {key}")


def test_somebody_logs_in_asks_decides_and_stops_without_a_mouse(tmp_path):
    with (
        Server(tmp_path, app=AGENTS, users={"ada": ()}) as server,
        chromium() as browser,
        page_of(browser) as page,
    ):
        page.goto(server.url)
        expect(page.get_by_label("Name")).to_be_focused()
        page.keyboard.type("ada")
        page.keyboard.press("Tab")
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Enter")

        expect(page.get_by_label("Message")).to_be_focused()
        page.keyboard.type("Pay")
        tab_to(page, "combobox", "Agent")
        page.keyboard.type("buyer")
        tab_to(page, "button", "Send")
        page.keyboard.press("Enter")

        said = page.locator(".unseen")
        expect(said).to_have_text("pay waits for your word.")
        tab_to(page, "button", "Approve", key="Shift+Tab")
        page.keyboard.press("Enter")
        expect(said).to_have_text("paid 12")

        tab_to(page, "link", "New conversation", key="Shift+Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_label("Message")).to_be_focused()
        page.keyboard.type("Wait")
        tab_to(page, "combobox", "Agent")
        page.keyboard.type("waiting")
        tab_to(page, "button", "Send")
        page.keyboard.press("Enter")
        expect(said).to_have_text("The answer is being made.")
        expect(page.get_by_label("Message")).to_be_focused()
        tab_to(page, "button", "Stop")
        page.keyboard.press("Enter")
        expect(said).to_have_text("Stopped.")


def test_the_drawer_of_a_narrow_screen_opens_and_closes_by_keys_and_gives_the_focus_back(tmp_path):
    with (
        Server(tmp_path, app=AGENTS, users={"ada": ()}) as server,
        chromium() as browser,
        page_of(browser, viewport={"width": 360, "height": 740}) as page,
    ):
        web_app.log_in(page, server.url)
        drawer = page.get_by_role("navigation", name="Conversations")
        expect(drawer).to_be_hidden()
        tab_to(page, "button", "Conversations", key="Shift+Tab")
        page.keyboard.press("Enter")
        expect(drawer).to_be_visible()
        tab_to(page, "searchbox", "Search conversations")
        page.keyboard.press("Escape")
        if drawer.is_visible():  # the first one empties a search field in some browsers
            page.keyboard.press("Escape")
        expect(drawer).to_be_hidden()
        expect(page.get_by_role("button", name="Conversations")).to_be_focused()


def test_a_failure_and_a_whole_answer_are_said_aloud_but_not_each_piece_of_it(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, web_app.logged_in(server) as (page, _):
        page.evaluate(
            """
            window.heard = [];
            new MutationObserver(() => {
              const said = document.querySelector(".unseen")?.textContent;
              if (said && window.heard.at(-1) !== said) window.heard.push(said);
            }).observe(document.body, { childList: true, characterData: true, subtree: true });
            """
        )
        web_app.ask(page, "What is 17*23?")
        expect(page.locator(".unseen")).to_contain_text("391")
        heard = page.evaluate("window.heard")
        assert len(heard) <= 3, heard
        assert "391" in heard[-1]
