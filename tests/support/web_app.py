"""The web app in a browser: logging in, asking, and what any page of it has to be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from netra_apex.server import web
from tests.acceptance.test_browser import chromium, page_of
from tests.support.server import PASSWORD, Server

AXE = Path(__file__).parents[2] / "ui" / "node_modules" / "axe-core" / "axe.min.js"


def must_be_built() -> None:
    """`make test` builds the app before: without it, a test is skipped, and fails where it must not be missing."""
    if not web.is_built():
        absent("the web app is not built: make ui")


def absent(reason: str) -> None:
    """What a test needs is not there."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


@contextmanager
def logged_in(server: Server, **options: Any) -> Iterator[tuple[Page, list[str]]]:
    """A page of somebody who is logged in, and what its console complains of."""
    errors: list[str] = []
    with chromium() as browser, page_of(browser, errors, **options) as page:
        log_in(page, server.url)
        yield page, errors


def log_in(page: Page, url: str, name: str = "ada") -> None:
    """From the login to the first page."""
    page.goto(url)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="What can I do for you?").wait_for()


def ask(page: Page, message: str, agent: str | None = None) -> None:
    """Writes a message and sends it."""
    if agent is not None:
        page.get_by_label("Agent").select_option(agent)
    page.get_by_label("Message").fill(message)
    page.get_by_role("button", name="Send", exact=True).click()


def complaints(errors: list[str]) -> list[str]:
    """What the console complains of, but for the question who is logged in, whose answer is nobody."""
    return [error for error in errors if "401" not in error]


def barriers(page: Page) -> list[str]:
    """What axe finds on the page that keeps people out: its serious and critical findings, with where they are."""
    if not AXE.exists():
        absent("axe-core is not installed: make ui")
    # As a script of the browser's own: the page's policy lets none in.
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def until(page: Page, condition: str) -> None:
    """Returns once this holds in the page, frame by frame; its policy lets Playwright's own waiting not in."""
    page.evaluate(
        """
        async ([condition, limit]) => {
          const end = performance.now() + limit;
          const holds = CONDITION;
          while (!holds()) {
            if (performance.now() > end) throw new Error(`not within ${limit} ms: ${condition}`);
            await new Promise(requestAnimationFrame);
          }
        }
        """.replace("CONDITION", f"() => ({condition})"),
        [condition, 15_000],
    )


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
