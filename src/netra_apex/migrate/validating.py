"""The validation command: run in a process group of its own, stopped in time, and read for what failed."""

import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from netra_apex.migrate.config import Phase
from netra_apex.migrate.faults import CommandMissing

TAIL = 4000
GRACE = 2.0
# As pytest and unittest name and count them.
_FAILED = re.compile(r"^(?:(?:FAILED|ERROR) ([^\s(]\S*)|(?:FAIL|ERROR): (.+))", re.MULTILINE)
_COUNT = re.compile(r"(\d+) (passed|failed|error)s?\b|(failure|error)s=(\d+)|Ran (\d+) tests?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """How a validation went; `failures` are the tests that it named, `tail` the end of what it said."""

    code: int
    seconds: float = 0.0
    failures: frozenset[str] = frozenset()
    tail: str = ""
    passed: int = 0
    failed: int = 0
    timed_out: bool = False
    flaky: bool = False

    @property
    def good(self) -> bool:
        """Whether the command said that all is well."""
        return self.code == 0 and not self.timed_out

    @property
    def outcome(self) -> str:
        """How it went, in a word."""
        if self.timed_out:
            return "timeout"
        return "flaky" if self.flaky else "passed" if self.good else "failed"

    def no_worse_than(self, before: "Verdict") -> bool:
        """Whether nothing fails now that did not fail before.

        Where the command names no failing tests, its exit code is all there is to compare.
        """
        if self.good:
            return True
        if before.good or self.timed_out:
            return False
        return self.failures <= before.failures and self.code == before.code


GOOD = Verdict(code=0)


def validated(phase: Phase, root: Path, paths: Sequence[str], began: Callable[[int], None]) -> Verdict:
    """Runs a phase's command on paths; what fails is run again as often as the phase says. Good without a command.

    Raises:
        CommandMissing: it cannot be started, so that it says nothing of any file.
    """
    if not phase.validate:
        return GOOD
    verdict = _once(phase, root, paths, began)
    for _ in range(phase.retries):
        if verdict.good or verdict.timed_out:
            break
        again = _once(phase, root, paths, began)
        if again.good:
            return Verdict(
                code=0, seconds=again.seconds, tail=again.tail, passed=again.passed, failed=again.failed, flaky=True
            )
        verdict = again
    return verdict


def command_of(phase: Phase, paths: Sequence[str]) -> list[str]:
    """The words of a phase's command for these paths."""
    words: list[str] = []
    for word in shlex.split(phase.validate):
        words += paths if word == "{files}" else [word.replace("{files}", shlex.join(paths))]
    return words


def _once(phase: Phase, root: Path, paths: Sequence[str], began: Callable[[int], None]) -> Verdict:
    start = time.monotonic()
    try:
        process = subprocess.Popen(  # noqa: S603 - the command is the maintainer's own
            command_of(phase, paths),
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandMissing(phase.validate, str(error)) from error
    began(process.pid)
    timed_out = False
    try:
        try:
            output, _ = process.communicate(timeout=phase.timeout)
        except subprocess.TimeoutExpired:
            timed_out = True
            output = _stop(process)
    finally:
        # Also where Ctrl-C ends this process: nobody else would stop the command, nor what it started.
        kill_group(process.pid)
        process.wait()
    text = output.decode("utf-8", "replace")
    if timed_out:
        text += f"\nstopped after {phase.timeout:g} s"
    passed, failed = _counted(text)
    return Verdict(
        code=process.returncode,
        seconds=time.monotonic() - start,
        failures=frozenset("".join(found) for found in _FAILED.findall(text)),
        tail=text[-TAIL:],
        passed=passed,
        failed=failed,
        timed_out=timed_out,
    )


def _counted(text: str) -> tuple[int, int]:
    """How many tests passed and failed, as far as the command tells."""
    ran = passed = failed = 0
    for number, kind, _, more, all_of_them in _COUNT.findall(text):
        passed += int(number) if kind == "passed" else 0
        failed += int(more or (number if kind != "passed" else "") or 0)
        ran += int(all_of_them or 0)
    return passed + max(ran - failed, 0) if ran else passed, failed


def _stop(process: "subprocess.Popen[bytes]") -> bytes:
    """Ends a process group, first by SIGTERM so that it can tell what it was at; gives what it said."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        return process.communicate(timeout=GRACE)[0]
    except subprocess.TimeoutExpired:
        kill_group(process.pid)
        return process.communicate()[0]


def kill_group(group: int) -> None:
    """Ends whatever is left of a process group."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def born(process: int) -> str:
    """When a process was started, as the kernel tells it; empty where it is gone, or no kernel tells."""
    try:
        return Path(f"/proc/{process}/stat").read_text("ascii", "replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
