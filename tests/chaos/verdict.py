"""Judging what is left: each run's log against the one of a run that nobody disturbed, and against its effects."""

import collections
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.support.cluster import Cluster
from tests.support.server import Server
from tests.support.streams import check_run

Event = dict[str, Any]


@dataclass
class Verdict:
    """What was found; `amiss` has a sentence for each thing that must not be."""

    runs: int = 0
    kills: int = 0
    struck: dict[str, int] = field(default_factory=dict[str, int])
    steps: int = 0
    finished_steps_redone: int = 0
    calls_begun_again: int = 0
    amiss: list[str] = field(default_factory=list[str])

    @property
    def redone_share(self) -> float:
        """Of the finished steps, those whose end was lost and that were done again."""
        return self.finished_steps_redone / max(1, self.steps)

    def report(self) -> dict[str, Any]:
        shown = self.amiss[:20] + [f"and {len(self.amiss) - 20} more"] * (len(self.amiss) > 20)
        return asdict(self) | {"redone_share": round(self.redone_share, 5), "amiss": shown}


def essence(events: list[Event]) -> list[tuple[Any, ...]]:
    """What a log says, without ids and times, and whether it had to wait; calls side by side in one order."""
    said: list[tuple[Any, ...]] = []
    for event in events:
        if event["type"] == "run_queued":
            continue
        kept = {
            name: value
            for name, value in event.items()
            if name not in ("seq", "run_id", "thread_id", "at", "call_id", "message_id", "duration_ms", "usage")
        }
        said.append((event["type"], json.dumps(kept, sort_keys=True)))
    for start in range(len(said)):
        if said[start][0] == "tool_completed" and said[start - 1][0] != "tool_completed":
            end = start
            while end < len(said) and said[end][0] == "tool_completed":
                end += 1
            said[start:end] = sorted(said[start:end])
    return said


def judge(server: Server | Cluster, followed: dict[str, list[Event]], reference: list[Event], kills: int) -> Verdict:
    """Compares the store, what clients were told meanwhile, and the application's effects."""
    verdict = Verdict(runs=len(followed), kills=kills)
    wanted = essence(reference)
    stands = collections.Counter(status for (status,) in server.rows("select status from runs"))
    if set(stands) != {"completed"}:
        verdict.amiss.append(f"runs stand so: {dict(stands)}")
    for run_id, told in followed.items():
        stored = server.events(run_id)
        try:
            check_run(stored)
        except AssertionError as error:
            verdict.amiss.append(f"{run_id}: {error}")
            continue
        if told != stored:
            verdict.amiss.append(f"{run_id}: its user was told {len(told)} events, {len(stored)} are stored")
        if essence(stored) != wanted:
            verdict.amiss.append(f"{run_id}: its log is not that of an undisturbed run: {essence(stored)}")
    _judge_effects(server, verdict, set(followed))
    if known := {run_id for (run_id,) in server.rows("select run_id from runs")} - set(followed):
        verdict.amiss.append(f"runs that nobody asked for: {known}")
    return verdict


def _judge_effects(server: Server | Cluster, verdict: Verdict, runs: set[str]) -> None:
    ledger = {
        (run_id, f"{run_id}:{call_id}" if call_id else f"{kind}:{name if kind == 'step' else step}"): (state, attempt)
        for run_id, step, kind, name, call_id, state, attempt in server.rows(
            "select run_id, step, kind, name, call_id, state, attempt from steps"
        )
        if run_id in runs
    }
    verdict.steps = len(ledger)
    begun: collections.Counter[tuple[str, str]] = collections.Counter()
    done: collections.Counter[tuple[str, str]] = collections.Counter()
    for line in (server.place / "effects.log").read_text().splitlines():
        what, run_id, key = line.split(" ")
        if run_id in runs:
            (begun if what == "begun" else done)[run_id, key] += 1
    for effect, times in begun.items():
        state, attempt = ledger.get(effect, ("missing", 0))
        if state != "finished" or not done[effect]:
            verdict.amiss.append(f"{effect}: begun {times} times, done {done[effect]}, in the ledger {state}")
        # A named step has no ledger of attempts: its function may have been begun before anything was written.
        elif times > attempt and not effect[1].startswith("step:"):
            verdict.amiss.append(f"{effect}: begun {times} times, the ledger knows of {attempt}")
        verdict.calls_begun_again += times - 1
        verdict.finished_steps_redone += max(0, done[effect] - 1)
    if left := [key for key, (state, _) in ledger.items() if state != "finished"]:
        verdict.amiss.append(f"steps that are not finished: {left[:5]}")
