"""Runs `netra` as its users do: as a process of its own."""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NETRA = Path(sys.executable).parent / "netra"
SECONDS = 30


@dataclass(frozen=True, slots=True)
class Done:
    code: int
    out: str
    err: str


def environment(home: Path, **more: str) -> dict[str, str]:
    """This machine's own, without anybody's settings."""
    return {**os.environ, "NETRA_HOME": str(home), "PYTHONUNBUFFERED": "1", **more}


def netra(*args: str, cwd: Path, stdin: str = "", **env: str) -> Done:
    """One command to its end, in a folder with a home of its own."""
    done = subprocess.run(
        [NETRA, *args],
        input=stdin,
        text=True,
        capture_output=True,
        cwd=cwd,
        env=environment(cwd / "home", **env),
        timeout=SECONDS,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


async def netra_async(*args: str, cwd: Path, stdin: str = "", **env: str) -> Done:
    """The same, for a test whose loop serves the peer that the command talks to."""
    process = await asyncio.create_subprocess_exec(
        NETRA,
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=environment(cwd / "home", **env),
    )
    async with asyncio.timeout(SECONDS):
        out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())
