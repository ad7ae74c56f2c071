"""`netra migrate`: data on stdout, everything else on stderr, and exit codes that say how it stands."""

import json
import os
import signal
import subprocess
import sys

import pytest
from tests.support.moved_tree import everything, in_git, script, write
from tests.support.old_and_new import make

USE = "from app.old import OldEngine\nx = OldEngine({}, 2)\n"
PHASE = '\n[[phase]]\nname = "all"\nbatch = 2\n'
NETRA = "from netra_apex.cli import main; main()"


@pytest.fixture
def tree(tmp_path):
    """Four files to move, in git."""
    root = tmp_path / "tree"
    make(root, {f"app/use{number}.py": USE.format(number) for number in range(4)})
    in_git(root)
    return root


def netra(root, *words, code=0):
    """What a command prints, which ends with `code`."""
    command = [sys.executable, "-c", NETRA, "migrate", *words]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_a_migration_from_plan_to_rollback(tree):
    before = everything(tree)
    assert netra(tree, "status", code=1).stderr == "nothing was migrated in . yet\n"
    planned = json.loads(netra(tree, "plan", "--json", code=1).stdout)
    assert [unit["ident"] for unit in planned["units"]] == [f"app/use{number}.py" for number in range(4)]
    assert "+x = UserEngine(0, 2)" in netra(tree, "plan", "--diff", code=1).stdout
    assert "4 edits" not in netra(tree, "plan", code=1).stdout
    told = json.loads(netra(tree, "run", "--json").stdout)
    assert (told["status"], told["counts"]["done"]) == ("completed", 4)
    assert netra(tree, "plan").stdout == ""
    assert netra(tree, "status").stdout.startswith("run 1: completed; 4 done")
    assert json.loads(netra(tree, "report", "--json").stdout)["burn_down"][-1]["remaining"] == 0
    assert "4 " in netra(tree, "report", "--weekly").stdout
    assert netra(tree, "rollback", "--file", "app/use1.py").stdout == "1 files rolled back\n"
    assert netra(tree, "rollback").stdout == "3 files rolled back\n"
    assert {name: entry for name, entry in everything(tree).items() if ".netra_audit" not in name} == before
    netra(tree, "rollback", code=1)
    netra(tree, "resume", code=1)


def test_a_rollback_leaves_what_was_edited_and_ends_with_1(tree):
    netra(tree, "run")
    (tree / "app/use1.py").write_text("mine\n")
    done = netra(tree, "rollback", code=1)
    assert "app/use1.py: it was changed after it was moved" in done.stderr
    assert done.stdout == "3 files rolled back\n"
    assert (tree / "app/use1.py").read_text() == "mine\n"


def test_a_dirty_tree_an_unknown_phase_and_a_lost_command_are_told(tree):
    (tree / "app/use1.py").write_text(USE.format(7))
    assert "app/use1.py; commit them" in netra(tree, "run", code=1).stderr
    assert "'nowhere'" in netra(tree, "run", "--phase", "nowhere", code=2).stderr
    write(tree, {"ssot.toml": (tree / "ssot.toml").read_text() + PHASE + 'validate = "no-such-command {files}"\n'})
    assert "cannot be started" in netra(tree, "run", "--allow-dirty", code=2).stderr
    assert "no folder" in netra(tree, "plan", "nowhere", code=2).stderr
    netra(tree, "run", code=4)
    netra(tree, "rollback")


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_stopped_can_be_gone_on_with(tree, tmp_path, sent):
    fifo = tmp_path / "here"
    os.mkfifo(fifo)
    text = (
        "import sys\n"
        f"if 'UserEngine(2' in open({str(tree / 'app/use2.py')!r}).read():\n"
        f"    f = open({str(fifo)!r}, 'w'); f.write('here'); f.close()\n"
        "    import time; time.sleep(600)\n"
    )
    validate = script(tmp_path, "check.py", text)
    write(tree, {"ssot.toml": (tree / "ssot.toml").read_text() + PHASE + f"validate = {validate!r}\n"})
    # Whoever starts the tests in the background has them ignore SIGINT, which a child would inherit.
    command = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n" + NETRA
    with subprocess.Popen([sys.executable, "-c", command, "migrate", "run"], cwd=tree) as process:
        with fifo.open() as opened:
            assert opened.read() == "here"
        process.send_signal(sent)
        assert process.wait(30) == (-signal.SIGKILL if sent is signal.SIGKILL else 4)
    assert "run 1: interrupted; 2 done, 2 open" in netra(tree, "status", code=4).stdout
    assert "netra migrate resume" in netra(tree, "run", code=4).stderr
    (tmp_path / "check.py").write_text("")
    assert json.loads(netra(tree, "resume", "--json").stdout)["counts"]["done"] == 4
    assert "UserEngine(2" in (tree / "app/use2.py").read_text()


def test_a_report_is_one_page_with_every_outcome_and_its_reason(tree, tmp_path):
    write(tree, {"app/left.py": "from app.old import OldEngine\nglobals()['OldEngine'] # <b>\n"})
    text = "import sys\nif any('UserEngine(1' in open(p).read() for p in sys.argv[1:]): sys.exit('<b>no</b>')\n"
    validate = script(tmp_path, "check.py", text)
    write(tree, {"ssot.toml": (tree / "ssot.toml").read_text() + PHASE + f"validate = {validate!r}\n"})
    done = netra(tree, "run", code=1)
    assert "failed: app/use1.py: <b>no</b>" in done.stderr
    page = tmp_path / "report.html"
    netra(tree, "report", "--html", str(page))
    text = page.read_text()
    assert "dynamic_use" in text
    assert "&lt;b&gt;no&lt;/b&gt;" in text
    assert "<b>no" not in text
    assert 'aria-label="Files left: 5 at first, 2 now"' in text
