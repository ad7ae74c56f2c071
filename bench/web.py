"""`python -m bench.web`: how smoothly the web app scrolls and writes, in frames of a real Chromium. JSON on stdout.

A thread of 10,000 messages is opened, scrolled and read to its beginning; then an answer comes in 100 pieces a second.
A frame that takes longer than two of 16.7 ms is one that somebody sees.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page
from tests.support.long_thread import add_long_thread
from tests.support.server import Server
from tests.support.web_app import ask, logged_in
from tests.support.wire_model import WireModel

MESSAGES = 10_000
SEEN_MS = 34
# Tells each text in pieces of its own, one every 10 ms, however the server told it.
PACED = """
(() => {
  const Native = window.WebSocket;
  window.WebSocket = class extends Native {
    #queue = [];
    #told = null;
    constructor(...args) {
      super(...args);
      super.addEventListener("message", ({ data }) => {
        const frame = JSON.parse(data);
        if (frame.type !== "message_delta") return this.#queue.push(data);
        const points = [...frame.text];
        for (let at = 0; at < points.length; at += 6) {
          const piece = { ...frame, offset: frame.offset + at, text: points.slice(at, at + 6).join("") };
          this.#queue.push(JSON.stringify(piece));
        }
      });
      setInterval(() => {
        const data = this.#queue.shift();
        if (data !== undefined) this.#told?.(new MessageEvent("message", { data }));
      }, 10);
    }
    set onmessage(told) {
      this.#told = told;
    }
  };
})();
"""
FRAMES = """
async ([seconds, by]) => {
  const viewport = document.querySelector(".viewport");
  const frames = [];
  let last = await new Promise(requestAnimationFrame);
  const end = last + seconds * 1000;
  while (last < end) {
    if (by !== 0) viewport.scrollBy(0, by);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
  }
  return frames;
}
"""


def frames(page: Page, seconds: float, by: int = 0) -> dict[str, Any]:
    """The frames of so long, scrolling by so many pixels in each; milliseconds."""
    took = sorted(page.evaluate(FRAMES, [seconds, by]))
    at = {f"p{percent}": round(took[int(len(took) * percent / 100)], 1) for percent in (50, 95, 99)}
    return {"frames": len(took), **at, "max": round(took[-1], 1), "seen": sum(each > SEEN_MS for each in took)}


def measure(server: Server, page: Page) -> dict[str, Any]:
    """Everything, one after another."""
    add_long_thread(server.home, "ada", MESSAGES)
    page.add_init_script(PACED)
    page.goto(f"{server.url}/#/t/thr_long")
    began = time.monotonic()
    page.reload()
    page.get_by_text(f"Answer {MESSAGES // 2}.").wait_for()
    found: dict[str, Any] = {"opened_seconds": round(time.monotonic() - began, 2)}
    frames(page, 1)
    for name, by in (("scrolled_7_200_px_a_second", -120), ("scrolled_24_000_px_a_second", -400)):
        found[name] = frames(page, 5, by)
    while not page.get_by_text("Question 1:").count():
        frames(page, 1, -2000)
    found["scrolled_with_all_of_it_read"] = frames(page, 5, 120)
    ask(page, "[[chunks=900 delay=5]]")
    frames(page, 1)
    found["100_pieces_a_second"] = frames(page, 6)
    return found


def main() -> None:
    """Measures, and prints it."""
    with (
        tempfile.TemporaryDirectory() as place,
        WireModel() as wire,
        Server(Path(place), app=None, wire=wire, users={"ada": ()}) as server,
        logged_in(server, viewport={"width": 1280, "height": 860}) as (page, _),
    ):
        json.dump(measure(server, page), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
