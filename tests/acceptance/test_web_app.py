"""The web app in a real browser: somebody logs in, asks, sees what is done, stops, decides, and is in several tabs."""

import gzip
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.acceptance.test_browser import chromium, page_of
from tests.support import web_agents, web_app
from tests.support.server import Server
from tests.support.web_app import ask, complaints, log_in, logged_in, until

pytestmark = pytest.mark.browser

SAMPLE = Path(__file__).parents[2] / "examples" / "usage_sample.csv"
AGENTS = Path(web_agents.__file__)


@pytest.fixture(autouse=True)
def built() -> None:
    web_app.must_be_built()


def test_somebody_uploads_a_csv_and_sees_what_each_agent_does_and_the_report_with_its_charts(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, errors):
        page.get_by_label("Files").set_input_files(SAMPLE)
        ask(page, "Analyze my AI costs")
        page.get_by_role("heading", name="What to do").wait_for()
        expect(page.locator("img.diagram").first).to_be_visible()
        page.locator(".timeline:not([open]) > summary").click()
        for agent in ("triage", "data", "optimisation", "actions", "report"):
            expect(page.get_by_role("list", name=agent, exact=True)).to_be_visible()
        assert complaints(errors) == []


def test_a_file_that_a_run_has_written_is_opened_from_its_conversation(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, errors):
        ask(page, "Analyze the AI costs of the sample")
        page.get_by_text("1 file", exact=True).click()
        link = page.get_by_role("list", name="Files of this conversation").get_by_role("link")
        with page.expect_download() as begun:
            link.click()
        assert begun.value.suggested_filename == link.inner_text().strip()
        assert Path(begun.value.path()).read_text().startswith("# AI cost analysis: the sample")
        assert complaints(errors) == []


def test_who_gives_a_wrong_password_reads_a_sentence_without_a_code(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, _):
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill("not the password")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_have_text("the name or the password is wrong")


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
        Server(tmp_path, app=AGENTS, users={"ada": ()}) as server,
        logged_in(server) as (page, errors),
    ):
        ask(page, "Pay", "payer")
        page.get_by_label("Answer", exact=True).fill("12")
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


def test_each_of_the_five_events_is_seen(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, _):
        ask(page, "What is 17*23?")
        expect(page.locator(".message.assistant .markdown")).to_contain_text("391")
        page.locator(".timeline:not([open]) > summary").click()  # it is folded once the run has ended
        timeline = page.locator(".timeline")
        expect(timeline.locator(".thought").first).to_be_visible()
        expect(timeline.locator(".call code").first).to_have_text("calculate")
        expect(timeline.locator(".call .state.done").first).to_be_visible()
        expect(timeline.locator("summary").first).to_contain_text("assistant in")


def test_what_an_edited_message_had_become_is_gone_in_every_tab(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, errors):
        ask(page, "What is 17*23?")
        expect(page.locator(".message.assistant .markdown")).to_contain_text("391")
        other = page.context.new_page()
        other.goto(page.url)
        expect(other.locator(".message.assistant .markdown")).to_contain_text("391")
        page.locator(".message.user").hover()
        page.get_by_role("button", name="Edit and send again").click()
        page.get_by_label("Edited message").fill("What is 2+2?")
        page.locator(".editor").get_by_role("button", name="Send").click()
        for tab in (page, other):
            expect(tab.locator(".said")).to_have_text("What is 2+2?")
            expect(tab.locator(".turn")).to_have_count(1)
            expect(tab.locator(".message.assistant .markdown")).to_contain_text("2+2 = 4")
        assert complaints(errors) == []


def test_an_answer_is_asked_for_again(tmp_path):
    with Server(tmp_path, app=AGENTS, users={"ada": ()}) as server, logged_in(server) as (page, errors):
        ask(page, "Write", "writer")
        page.get_by_role("heading", name="A report").wait_for()
        page.locator(".message.assistant").hover()
        page.get_by_role("button", name="Ask again").click()
        until(page, "document.querySelectorAll('.timeline').length === 1")
        expect(page.locator(".timeline > summary .state.done")).to_be_visible()
        expect(page.locator(".turn")).to_have_count(1)
        assert len(server.rows("select 1 from runs")) == 2
        assert complaints(errors) == []


def test_what_is_sent_meanwhile_waits_and_says_why_and_for_how_many(tmp_path):
    with Server(tmp_path, app=AGENTS, users={"ada": ()}) as server, logged_in(server) as (page, _):
        ask(page, "Wait", "waiting")
        page.locator(".timeline").wait_for()
        for number in range(2):
            page.get_by_label("Message").fill(f"and {number}")
            page.get_by_label("Message").press("Enter")
        waiting = page.locator(".queued")
        expect(waiting.first).to_contain_text("another run of this thread is under way; it is your next")
        expect(waiting.last).to_contain_text("1 of yours before it")
        (tmp_path / "go").touch()
        expect(page.locator(".timeline > summary .state.done")).to_have_count(3)
        expect(waiting).to_have_count(0)


def test_what_is_left_of_a_budget_is_seen_and_follows_what_is_used(tmp_path):
    with (
        Server(tmp_path, app=None, users={"ada": ()}, user_tokens_per_day=10_000) as server,
        logged_in(server) as (page, _),
    ):
        usage = page.get_by_role("region", name="Today's usage")
        expect(usage).to_contain_text("10,000 of 10,000 tokens left today")
        ask(page, "What is 17*23?")
        expect(page.locator(".message.assistant .markdown")).to_contain_text("391")
        expect(usage).not_to_contain_text("10,000 of 10,000")
        left = page.evaluate("fetch('api/me/usage').then((answer) => answer.json()).then((day) => day.left.tokens)")
        assert left < 10_000
        expect(usage).to_contain_text(f"{left:,} of 10,000 tokens left today")


def test_another_login_in_the_same_browser_sees_nothing_of_the_one_before(tmp_path):
    with (
        Server(tmp_path, app=None, users={"ada": (), "bob": ()}) as server,
        chromium() as browser,
        page_of(browser) as page,
    ):
        log_in(page, server.url)
        ask(page, "My secret is a canary")
        page.locator(".timeline > summary .state.done").wait_for()
        thread = page.url
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Name").wait_for()
        assert "canary" not in page.content()
        log_in(page, server.url, "bob")
        assert "canary" not in page.content()
        page.goto(thread)
        page.get_by_role("alert").wait_for()
        assert "canary" not in page.content()


def test_the_first_load_is_three_hundred_kilobytes_at_most_and_comes_compressed_to_who_takes_it_so(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, _):
        loaded = page.evaluate(
            "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
            ".map((each) => [each.name, each.transferSize])"
        )
        assert sum(size for _, size in loaded) <= 300 * 1024, loaded
        script = next(name for name, _ in loaded if "/index-" in name and name.endswith(".js"))
        answers = {}
        for encoding in ("gzip, br", "identity"):
            with urllib.request.urlopen(urllib.request.Request(script, headers={"Accept-Encoding": encoding})) as told:
                assert told.headers["Content-Type"].startswith("text/javascript")
                answers[told.headers["Content-Encoding"]] = told.read()
        assert gzip.decompress(answers["gzip"]) == answers[None]
