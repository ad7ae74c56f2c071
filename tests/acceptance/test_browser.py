"""In a real browser: the set-up link, the cookie, the socket from a page; and what a page of another origin gets."""

import contextlib
import functools
import http.server
import os
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from tests.support.server import PASSWORD, Server

pytestmark = pytest.mark.browser

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
# What a page does: it tells how its socket went, frame by frame, to the close or the run's end.
ASK = """
async ([url, content]) => new Promise((resolve) => {
  const told = [];
  const socket = new WebSocket(url, "netra.v1");
  socket.onmessage = (message) => {
    const frame = JSON.parse(message.data);
    told.push(frame);
    if (frame.type === "connection_established") {
      socket.send(JSON.stringify({ type: "user_message", id: 1, content }));
    }
    if (frame.type.startsWith("agent_") && ["completed", "failed"].some((end) => frame.type.endsWith(end))) {
      resolve({ told, protocol: socket.protocol, code: null });
      socket.close();
    }
  };
  socket.onclose = (event) => resolve({ told, code: event.code, reason: event.reason });
})
"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser. Enter it last: Playwright holds this thread's event loop."""
    if not Path(CHROMIUM).exists():
        if os.environ.get("CI"):
            pytest.fail("there is no chromium, and CI must have one")
        pytest.skip("there is no chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        with contextlib.closing(started):
            yield started


@contextlib.contextmanager
def page_of(browser, errors=None, **options) -> Iterator[Page]:
    """A page of a browser that remembers nothing; what its console complains of goes to `errors`."""
    with contextlib.closing(browser.new_context(**options)) as context:
        page = context.new_page()
        page.set_default_timeout(15_000)
        if errors is not None:
            page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
            page.on("pageerror", lambda error: errors.append(str(error)))
        yield page


def _set_up(page, link, name):
    page.goto(link)
    page.fill("#username", name)
    page.fill("#password", PASSWORD)
    page.fill("#again", PASSWORD)
    page.click("#send")


def _socket_url(server):
    return server.url.replace("http", "ws", 1) + "/ws"


@contextlib.contextmanager
def _strangers_page(folder) -> Iterator[str]:
    """The address of a page on another origin."""
    (folder / "index.html").write_text("<!doctype html><title>Somebody else's page</title>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as stranger:
        serving = threading.Thread(target=stranger.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{stranger.server_port}/"
        finally:
            stranger.shutdown()
            serving.join()


def test_the_first_admin_sets_up_by_the_printed_link_and_talks_to_an_agent_in_a_browser(tmp_path):
    with Server(tmp_path / "served", app=None, users={}) as server, chromium() as browser:
        link = re.search(r"http://\S+/setup#\S+", server.line())[0]
        errors = []
        with page_of(browser, errors) as page:
            _set_up(page, link, "Grace")
            page.wait_for_selector("#done:visible")
            assert page.text_content("#who") == "grace"
            # The token does not stay in the address, and no script can read the login.
            assert page.url == f"{server.url}/setup"
            assert page.evaluate("document.cookie") == ""
            me = page.evaluate("fetch('/api/auth/me').then((answer) => answer.json())")
            assert (me["user_id"], me["permissions"]) == ("grace", ["admin"])
            heard = page.evaluate(ASK, [_socket_url(server), "What is 17*23?"])
            assert heard["protocol"] == "netra.v1"
            kinds = [frame["type"] for frame in heard["told"]]
            five = ["agent_started", "agent_thinking", "tool_executing", "tool_completed", "agent_completed"]
            assert [kind for kind in dict.fromkeys(kinds) if kind in five] == five
            assert kinds[:2] == ["connection_established", "message_accepted"]
            assert "391" in heard["told"][-1]["output"]
            durable = [frame["seq"] for frame in heard["told"] if "seq" in frame]
            assert durable == list(range(1, len(durable) + 1))
        assert errors == []

        # The link works once.
        with page_of(browser) as page:
            _set_up(page, link, "mallory")
            page.wait_for_selector("#problem:visible")
            assert "not valid" in page.text_content("#problem")
            assert page.is_hidden("#done")
        assert [name for (name,) in server.rows("select user_id from users")] == ["grace"]

        # A page of another origin, in the browser that is logged in: its socket is closed, and it sees with what.
        place = tmp_path / "stranger"
        place.mkdir()
        with _strangers_page(place) as strange, page_of(browser) as page:
            page.goto(server.url)
            logged_in = (
                "fetch('/api/auth/login', {method: 'POST', headers: {'Content-Type': 'application/json'}, body})"
            )
            body = '{"username":"grace","password":"%s"}' % PASSWORD  # noqa: UP031 - braces
            status = page.evaluate(f"(body) => {logged_in}.then((answer) => answer.status)", body)
            assert status == 200
            assert page.evaluate(ASK, [_socket_url(server), "What is 2+2?"])["code"] is None
            page.goto(strange)
            refused = page.evaluate(ASK, [_socket_url(server), "What is 2+2?"])
            assert (refused["code"], refused["told"]) == (4403, [])
            assert "origin" in refused["reason"]
            reading = "fetch(url, {credentials: 'include'}).then(() => 'read', () => 'refused')"
            assert page.evaluate(f"(url) => {reading}", f"{server.url}/api/threads") == "refused"
        assert "Traceback" not in server.log()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_show_themselves_without_a_complaint_in_light_and_in_dark(tmp_path, scheme):
    PICTURES.mkdir(parents=True, exist_ok=True)
    with Server(tmp_path, app=None, users={}) as server, chromium() as browser:
        link = re.search(r"http://\S+/setup#\S+", server.line())[0]
        errors = []
        for name, address, size in (
            ("home", server.url, {"width": 1280, "height": 800}),
            ("setup", link, {"width": 1280, "height": 800}),
            ("setup-narrow", link, {"width": 360, "height": 740}),
        ):
            with page_of(browser, errors, color_scheme=scheme, viewport=size) as page:
                page.goto(address)
                page.wait_for_selector("h1:visible")
                overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                assert page.evaluate(overflow) == 0
                shade = page.evaluate("getComputedStyle(document.body).backgroundColor")
                levels = [int(level) for level in re.findall(r"\d+", shade)[:3]]
                assert (sum(levels) / 3 > 128) == (scheme == "light"), shade
                page.screenshot(path=PICTURES / f"{name}-{scheme}.png", full_page=True)
        assert errors == []
