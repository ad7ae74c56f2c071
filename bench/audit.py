"""`python -m bench.audit`: what an audit of a large tree costs, beside ruff and parsing alone. JSON on stdout.

The tree is the standard library and the packages of this environment, copied. CPU seconds are those of all processes;
memory is the greatest sum of what its processes have for themselves (PSS).
"""

import argparse
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

SAMPLE = 0.05  # seconds between two looks at memory
# What ruff knows that is nearest: unused, undefined and twice bound names, stars, exports, where imports stand.
RULES = "F401,F403,F405,F811,F821,F822,E402,PLC0415"
PARSE = """
import ast, os, sys, warnings
warnings.simplefilter("ignore")
for folder, _, names in os.walk(sys.argv[1]):
    for name in names:
        if name.endswith(".py"):
            with open(os.path.join(folder, name), "rb") as file:
                try:
                    ast.parse(file.read())
                except (SyntaxError, ValueError, RecursionError, MemoryError):
                    pass
"""
NETRA = "from netra_apex.cli import main; main()"


def tree(folder: Path) -> int:
    """Copies the standard library and the installed packages; says how many Python files they have."""
    paths = sysconfig.get_paths()
    skipped = shutil.ignore_patterns("__pycache__", "site-packages")
    shutil.copytree(paths["stdlib"], folder / "library", ignore=skipped, symlinks=True)
    shutil.copytree(paths["purelib"], folder / "packages", ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    return sum(1 for _ in folder.rglob("*.py"))


def run(*command: str, seed: str | None = None) -> tuple[dict[str, Any], bytes]:
    """A command to its end: its seconds, its memory, and what it wrote."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    environment = dict(os.environ) | ({} if seed is None else {"PYTHONHASHSEED": seed})
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env=environment)
        most = 0
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            most = max(most, pss(watched))
            time.sleep(SAMPLE)
        wall = time.perf_counter() - begun
        out.seek(0)
        written = out.read()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    figures = {
        "cpu_s": round(cpu, 2),
        "wall_s": round(wall, 2),
        "memory_mb": round(most / 2**20),
        "exit": process.returncode,
    }
    return figures, written


def pss(process: psutil.Process) -> int:
    """What a process and those below it have for themselves."""
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            total += each.memory_full_info().pss
    except psutil.Error:
        pass  # it has just ended
    return total


def audited(folder: Path, jobs: int, seed: str | None = None) -> tuple[dict[str, Any], str]:
    """An audit of every rule: its figures, and what names its findings."""
    command = (
        sys.executable,
        "-c",
        NETRA,
        "audit",
        str(folder),
        "--format",
        "json",
        "--jobs",
        str(jobs),
        "--select",
        "R,C,U,G,M,E",
    )
    figures, written = run(*command, seed=seed)
    return figures, hashlib.sha256(written).hexdigest()


def forget(folder: Path) -> None:
    """The next audit is a cold one."""
    shutil.rmtree(folder / ".netra_audit", ignore_errors=True)


def measure(folder: Path, rounds: int) -> dict[str, Any]:
    """Everything, so many times; parser, ruff and audit in turn, as the machine may have others to serve."""
    done: dict[str, list[dict[str, Any]]] = {}
    names: set[str] = set()
    # The files are in memory from here on.
    run(sys.executable, "-c", PARSE, str(folder))
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
        done.setdefault("ruff", []).append(
            run(
                "ruff",
                "check",
                "--isolated",
                "--no-cache",
                "--quiet",
                "--output-format",
                "concise",
                "--select",
                RULES,
                str(folder),
            )[0]
        )
        done.setdefault("parse", []).append(run(sys.executable, "-c", PARSE, str(folder))[0])
        for name, jobs, seed, cold in (
            ("cold, 1 process", 1, "0", True),
            ("cold, 2 processes", 2, "1", True),
            ("warm", 2, "2", False),
        ):
            if cold:
                forget(folder)
            figures, digest = audited(folder, jobs, seed)
            done.setdefault(name, []).append(figures)
            names.add(digest)
        done.setdefault("10 files changed", []).append(changed(folder))
    best = {name: min(several, key=lambda each: each["cpu_s"]) for name, several in done.items()}
    return {
        "measured": best,
        "same_findings": len(names) == 1,
        "cold_cpu_by_ruff": round(best["cold, 2 processes"]["cpu_s"] / best["ruff"]["cpu_s"], 2),
        "cold_cpu_by_parse": round(best["cold, 2 processes"]["cpu_s"] / best["parse"]["cpu_s"], 2),
        "cold_one_process_cpu_by_parse": round(best["cold, 1 process"]["cpu_s"] / best["parse"]["cpu_s"], 2),
    }


def changed(folder: Path) -> dict[str, Any]:
    """An audit after ten files became longer by a comment."""
    for path in sorted((folder / "packages").rglob("*.py"))[:: max(1, 16000 // 10)][:10]:
        path.write_bytes(path.read_bytes() + b"\n# changed\n")
    return audited(folder, 2)[0]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="netra-bench-") as name:
        folder = Path(name)
        count = tree(folder)
        print(json.dumps({"files": count, **measure(folder, given.rounds)}, indent=2))


if __name__ == "__main__":
    main()
