"""What an answer may not do in the web app: run a script, load anything from elsewhere, lead to a script."""

from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.support import web_agents, web_app
from tests.support.server import Server
from tests.support.web_app import ask, complaints, logged_in

pytestmark = pytest.mark.browser

AGENTS = Path(web_agents.__file__)


@pytest.fixture(autouse=True)
def built() -> None:
    web_app.must_be_built()


def test_hostile_markdown_runs_nothing_loads_nothing_and_leads_to_no_script(tmp_path):
    with Server(tmp_path, app=AGENTS, users={"ada": ()}) as server, logged_in(server) as (page, errors):
        asked: list[str] = []
        page.context.on("request", lambda request: asked.append(request.url))
        ask(page, "Go on", "stranger")
        answer = page.locator(".message.assistant .markdown")
        expect(answer).to_contain_text("The end of it.")
        page.locator("img.diagram").first.wait_for()
        expect(answer.get_by_role("link", name="a tracker")).to_have_attribute(
            "href", "https://evil.example/pixel.png?who=ada"
        )
        # Links are there to be clicked: none of them may do anything here.
        for link in answer.get_by_role("link").all():
            href = link.get_attribute("href")
            assert href.startswith("https://"), href
            assert "noopener" in (link.get_attribute("rel") or "")
        assert answer.locator("img:not(.diagram), svg, script, iframe, object, embed, style").count() == 0
        for diagram in page.locator("img.diagram").all():
            assert diagram.evaluate("picture => picture.src.startsWith('data:image/svg+xml')")
            assert diagram.evaluate("picture => picture.decode().then(() => picture.naturalWidth > 0)")
        assert page.evaluate("window.pwned") is None
        assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []
        assert complaints(errors) == []


def test_the_pages_policy_stops_what_would_come_through_the_markdown_all_the_same(tmp_path):
    with Server(tmp_path, app=None, users={"ada": ()}) as server, logged_in(server) as (page, _):
        asked: list[str] = []
        page.context.on("requestfinished", lambda request: asked.append(request.url))
        stopped = page.evaluate(
            """
            async () => {
              const stopped = [];
              document.addEventListener("securitypolicyviolation", (event) => stopped.push(event.effectiveDirective));
              const place = document.createElement("div");
              document.body.append(place);
              place.innerHTML = `<img src="https://evil.example/i.png" onerror="window.handled = true">
                <iframe src="https://evil.example/f"></iframe>`;
              const script = document.createElement("script");
              script.textContent = "window.ran = true";
              place.append(script);
              await fetch("https://evil.example/x").catch(() => undefined);
              const kinds = ["img-src", "frame-src", "connect-src", "script-src-elem"];
              const end = performance.now() + 10_000;
              while (!kinds.every((kind) => stopped.includes(kind)) && performance.now() < end) {
                await new Promise((wake) => setTimeout(wake, 10));
              }
              return stopped;
            }
            """
        )
        assert {"img-src", "frame-src", "connect-src", "script-src-elem"} <= set(stopped)
        assert page.evaluate("[window.ran, window.handled]") == [None, None]
        assert [url for url in asked if "evil" in url] == []
