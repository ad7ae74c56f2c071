"""A team of eight missions, three in parallel, killed at each of its writes: it resumes, and nothing is redone."""

import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MISSIONS = {
    "product_team": ["requirements", "design", "test_plan", "store", "api", "page", "validation", "handover"],
    "chains": ["a1", "b1", "a2", "b2", "end"],
}
SIDE_BY_SIDE = {"product_team": {"store", "api", "page"}, "chains": {"a1", "b1", "a2", "b2"}}
CHANCE = re.compile(r"_id$|^(seq|at|duration_ms|again|step)$")
SECONDS = 120


def content(events):
    """What was told, by whom, without ids and times; progress without the names, of which the order is chance."""
    told = Counter()
    for event in events:
        kept = {
            key: value for key, value in event.items() if not re.search(r"_id$|^(seq|at|duration_ms|again|step)$", key)
        }
        if kept["type"] == "agent_thinking":
            kept["text"] = kept["text"].partition(":")[0]
        told[json.dumps(kept, sort_keys=True)] += 1
    return told


def finished(events):
    """The missions whose calls had ended."""
    begun = {each["call_id"]: each["arguments"]["task"] for each in events if each["type"] == "tool_executing"}
    ended = [begun[each["call_id"]] for each in events if each["type"] == "tool_completed"]
    return {task.splitlines()[0].removeprefix("# Mission: ") for task in ended}


def per_cent(events):
    told = (re.match(r"\d of \d missions are done \((\d+) %\)", each.get("text", "")) for each in events)
    return [int(found[1]) for found in told if found]


@pytest.mark.parametrize("team", MISSIONS)
def test_a_team_that_is_killed_at_any_write_goes_on_and_repeats_no_finished_mission(team, tmp_path):
    command = [sys.executable, "-m", "tests.support.killed_team", str(tmp_path), team]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    whole, *kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(whole["asked"]) == sorted(MISSIONS[team])
    assert whole["events"][-1]["type"] == "agent_completed"
    assert len(kills) == 2 * whole["writes"]
    assert per_cent(whole["events"])[-1] == 100
    partly = set()
    for kill in kills:
        where = kill["kill"]
        # A run that takes fewer writes than the first one did comes to its end instead.
        assert kill["died"] == signal.SIGKILL or kill["before"][-1]["type"] == "agent_completed", where
        before = finished(kill["before"])
        assert before.isdisjoint(kill["again"]), where
        assert Counter(kill["asked"] + kill["again"]).keys() == set(MISSIONS[team]), where
        assert len(set(kill["again"])) == len(kill["again"]), where
        assert content(kill["events"]) == content(whole["events"]), where
        assert [each["seq"] for each in kill["events"]] == list(range(1, len(kill["events"]) + 1)), where
        assert kill["events"][: len(kill["before"])] == kill["before"], where
        assert per_cent(kill["events"]) == per_cent(whole["events"]), where
        partly.add(len(before & SIDE_BY_SIDE[team]))
    assert partly == set(range(len(SIDE_BY_SIDE[team]) + 1)), "kills came between the ends of what is side by side"
