"""The web app when the network or the server goes away in the middle of an answer: its user is told, nothing lost."""

import pytest
from playwright.sync_api import Page, expect
from tests.acceptance.test_browser import chromium, page_of
from tests.support import web_app
from tests.support.cable import Cable
from tests.support.server import Server
from tests.support.web_app import ask, log_in, logged_in

pytestmark = pytest.mark.browser

AWAY_MS = 10_000
# Longer than the network is away, on a machine that is quick, too.
LONG = "[[chunks=200 delay=80]]"


@pytest.fixture(autouse=True)
def built() -> None:
    web_app.must_be_built()


def check_whole(page: Page, server: Server) -> None:
    """What is shown once the run has ended is its whole answer, and its log has no gap."""
    page.locator(".timeline > summary .state.done").wait_for(timeout=30_000)
    ((run_id,),) = server.rows("select run_id from runs")
    told = server.events(run_id)
    assert [event["seq"] for event in told] == list(range(1, len(told) + 1))
    answer = next(event["content"] for event in told if event["type"] == "message_completed")
    shown = page.locator(".message.assistant .markdown").inner_text()
    assert shown.split() == answer.split()


def test_an_answer_is_whole_though_the_network_was_away_for_ten_seconds_of_it(tmp_path, wire):
    with Server(tmp_path, app=None, wire=wire, users={"ada": ()}) as server:
        port = int(server.url.rsplit(":", 1)[1])
        with Cable(port) as cable, chromium() as browser, page_of(browser) as page:
            log_in(page, cable.url)
            ask(page, LONG)
            expect(page.locator(".message.assistant")).to_contain_text("word3")
            cable.cut()
            expect(page.locator(".away")).to_contain_text("coming back")
            page.wait_for_timeout(AWAY_MS)
            expect(page.locator(".away")).to_be_visible()
            cable.mend()
            expect(page.locator(".away")).to_have_count(0, timeout=15_000)
            expect(page.locator(".message.assistant")).to_contain_text("word199", timeout=30_000)
            check_whole(page, server)


def test_an_answer_goes_on_where_it_was_when_its_server_was_killed_and_is_back(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, _):
        server.settings["port"] = int(server.url.rsplit(":", 1)[1])
        ask(page, "Tell me how runs survive a crash")
        expect(page.locator(".message.assistant")).to_contain_text("Here is what")
        server.kill()
        expect(page.locator(".away")).to_contain_text("coming back")
        server.start()
        check_whole(page, server)
        expect(page.locator(".away")).to_have_count(0)


def test_what_is_sent_while_the_network_is_away_arrives_once_when_it_is_back(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server:
        port = int(server.url.rsplit(":", 1)[1])
        with Cable(port) as cable, chromium() as browser, page_of(browser) as page:
            log_in(page, cable.url)
            ask(page, "Hello")
            page.locator(".timeline > summary .state.done").wait_for()
            cable.cut()
            expect(page.locator(".away")).to_be_visible()
            ask(page, "What is 17*23?")
            cable.mend()
            expect(page.locator(".message.assistant").last).to_contain_text("391", timeout=30_000)
            assert len(server.rows("select 1 from runs")) == 2
            expect(page.get_by_role("alert")).to_have_count(0)
