"""What the tests of isolated tools ask about processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.unit.tools.support import until

ROOT = Path(__file__).parents[3]


def gone(pid: int) -> bool:
    """Whether the process has ended; one that only waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def noted(path: Path) -> list[int]:
    """The processes that a tool wrote down; none before it has."""
    return [int(pid) for pid in path.read_text().split()] if path.exists() else []


async def begun(path: Path) -> list[int]:
    """As `noted`, once it has."""
    await until(lambda: bool(noted(path)))
    return noted(path)


def children_of(pid: int) -> list[int]:
    """The processes that this one started and that are there."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def program(*words: str | Path, cwd: Path = ROOT) -> "subprocess.Popen[str]":
    """Python with these words, in a session of its own."""
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def kill(process: "subprocess.Popen[str]") -> None:
    """kill -9, of this process alone."""
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
