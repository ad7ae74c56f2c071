"""Migrations that are killed at random, taken up, killed again, and rolled back or carried out in the end.

`python -m tests.support.killed_migration --kills 100 --seed 1` is the long form: it ends with 1 on the first file that
is neither what it was nor what was planned, or on anything that is left behind.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from netra_apex.migrate import rolling_back, running
from netra_apex.migrate.config import Phase
from tests.support.moved_tree import NEW, OLD, everything, plan_of, write

FILES = 40
PHASES = (Phase(name="all", batch=7, validate=f"{sys.executable} -S -c pass {{files}}", retries=0),)


def make_tree(root):
    """A tree of small files, some of which move together."""
    names = [f"package_{number % 5}/m{number}.py" for number in range(FILES)]
    write(root, {name: f"# {name}\r\nx = OldEngine()\n" * (place + 1) for place, name in enumerate(names)})
    return [tuple(names[:3]), *names[3:-2], tuple(names[-2:])]


def main_of_child(root, what, groups):
    """What the killed process does."""
    with running.opened(root) as journal:
        print("begun", flush=True)
        last = journal.last()
        if what == "rollback" and last is not None and last.status != "rolled_back":
            entries = rolling_back.chosen(journal, last)
            rolling_back.roll_back(journal, root, last, entries, quiet)
        elif what == "run" and last is None:
            run = running.begin(journal, root, plan_of(root, *groups), PHASES, allow_dirty=False)
            running.Runner(journal, root, run, quiet).carry_out()
        elif last is not None and last.status == "rolling_back":
            rolling_back.go_on(journal, root, last, quiet)
        elif last is not None and last.unfinished:
            running.Runner(journal, root, last, quiet).carry_out()


def quiet(entries, state, detail):
    """Whoever is told shows nothing."""


def one(root, chance, most):
    """One migration with up to `most` kills; gives how many hit a process that was at work, and how it ended."""
    groups = make_tree(root)
    before = everything(root)
    after = {name: (data.replace(OLD, NEW), *rest) for name, (data, *rest) in before.items()}
    kills, what = 0, "run"
    while kills < most:
        if not killed(root, what, groups, chance.uniform(0.0, 0.9)):
            break
        kills += 1
        check_each(root, before, after)
        # A rollback that was begun is ended: one can go on with it, but not turn back.
        what = "rollback" if what == "rollback" or chance.random() < 0.1 else "run"
    finish(root, groups, what)
    with running.opened(root) as journal:
        last = journal.last()
        states = {entry.state for entry in journal.entries(last.run_id)} if last is not None else set()
    assert states <= ({"done"} if what == "run" else {"returned", "planned"}), states
    found = everything(root)
    wanted = before if what == "rollback" else after
    if found != wanted:
        different = sorted({name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)})
        raise AssertionError(f"after {what}, these are not what they should be: {different}")
    return kills, what


def check_each(root, before, after):
    """Every file is whole at every moment: what it was, or what was planned."""
    for name, entry in everything(root).items():
        if name.endswith(".netra-migrate"):
            continue  # what was being written beside its target when the process was killed
        assert entry in (before[name], after[name]), f"{name} is torn"


def finish(root, groups, what):
    """Lets the migration come to its end; twice, as whoever is not sure would."""
    for _ in range(2):
        done = subprocess.run(command(root, what, groups), capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr


def command(root, what, groups):
    """How the child is started."""
    text = (
        "import sys, json\nfrom pathlib import Path\nfrom tests.support import killed_migration as k\n"
        "k.main_of_child(Path(sys.argv[1]), sys.argv[2], "
        "[tuple(g) if isinstance(g, list) else g for g in json.loads(sys.argv[3])])"
    )
    import json

    return [sys.executable, "-c", text, str(root), what, json.dumps(groups)]


def killed(root, what, groups, delay):
    """Whether the process was at work when it was killed, so long after it began."""
    with subprocess.Popen(command(root, what, groups), stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"begun\n"
        time.sleep(delay)
        process.kill()
        return process.wait(30) != 0


def storm(kills, seed):
    """Migrations until so many kills hit; gives what became of them."""
    chance, hit, ends = random.Random(seed), 0, {"run": 0, "rollback": 0}
    while hit < kills:
        with tempfile.TemporaryDirectory() as folder:
            count, what = one(Path(folder), chance, min(6, kills - hit))
        hit += count
        ends[what] += 1
    return hit, ends


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    hit, ends = storm(asked.kills, asked.seed)
    print(f"{hit} kills; {ends['run']} migrations ended applied, {ends['rollback']} rolled back, byte for byte")
