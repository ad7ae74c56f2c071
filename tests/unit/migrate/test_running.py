"""The runner: what is written is validated, kept or taken back, and what people have edited is never overwritten."""

import stat
import subprocess
import sys

import psutil
import pytest
from tests.support.moved_tree import NEW, OLD, everything, git, in_git, plan_of, script, write

from netra_apex.migrate import rolling_back, running
from netra_apex.migrate.applying import replace
from netra_apex.migrate.config import Phase
from netra_apex.migrate.edits import digest, read_plan
from netra_apex.migrate.faults import (
    CommandMissing,
    Conflict,
    NoRun,
    PlanUnreadable,
    RunUnfinished,
    TreeLocked,
    WorkTreeDirty,
)
from netra_apex.migrate.summary import standing

NASTY = {
    "crlf.py": b"from a import OldEngine\r\nx = OldEngine()\r\n",
    "bom.py": b"\xef\xbb\xbfOldEngine()\n",
    "no_end.py": b"OldEngine()",
    "old_mac.py": b"OldEngine()\rOldEngine()\r",
    "form_feed.py": b"a = 1\n\x0c\nOldEngine()\n\ttab = 1\n",
    "accents.py": "é = 'ü' # OldEngine\n".encode(),
}


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "tree"
    write(root, NASTY)
    return root


def carry_out(root, plan, *phases, allow_dirty=False):
    """Runs a plan to its end; gives how it stands then."""
    with running.opened(root) as journal:
        run = running.begin(journal, root, plan, phases or (Phase(name="all"),), allow_dirty=allow_dirty)
        running.Runner(journal, root, run, quiet).carry_out()
        return standing(journal, journal.last())


def resume(root):
    with running.opened(root) as journal:
        run = running.resumable(journal)
        running.Runner(journal, root, run, quiet).carry_out()
        return standing(journal, journal.last())


def rollback(root, **selected):
    with running.opened(root) as journal:
        run = journal.last()
        entries = rolling_back.chosen(journal, run, **selected)
        rolling_back.roll_back(journal, root, run, entries, quiet)
        return standing(journal, journal.last())


def quiet(entries, state, detail):
    """Whoever is told shows nothing."""


def states(found):
    return {entry.unit.ident: entry.state for entry in found.entries}


def applied(before):
    return {name: (data.replace(OLD, NEW), *rest) for name, (data, *rest) in before.items()}


def test_only_the_bytes_of_edits_change_and_a_rollback_gives_them_back(tree):
    (tree / "bom.py").chmod(0o755)
    (tree / "link.py").symlink_to("crlf.py")
    before = everything(tree)
    found = carry_out(tree, plan_of(tree, *NASTY))
    assert found.clean
    assert everything(tree) == applied(before)
    assert (tree / "link.py").is_symlink()
    assert stat.S_IMODE((tree / "bom.py").stat().st_mode) == 0o755
    assert rollback(tree).status == "rolled_back"
    assert everything(tree) == before


def test_a_file_that_is_reached_by_a_link_is_written_where_it_is(tree):
    write(tree, {"far/real.py": "OldEngine()\n"})
    (tree / "near.py").symlink_to("far/real.py")
    carry_out(tree, plan_of(tree, "near.py"))
    assert (tree / "near.py").is_symlink()
    assert (tree / "far/real.py").read_bytes() == b"UserEngine()\n"


def test_a_link_that_leads_out_of_the_tree_is_a_conflict(tree, tmp_path):
    write(tmp_path, {"outside.py": "OldEngine()\n"})
    (tree / "out.py").symlink_to(tmp_path / "outside.py")
    assert states(carry_out(tree, plan_of(tree, "out.py"))) == {"out.py": "conflict"}
    assert (tmp_path / "outside.py").read_bytes() == b"OldEngine()\n"


def test_a_file_that_was_edited_after_the_plan_is_left_with_all_that_moves_with_it(tree):
    plan = plan_of(tree, ("bom.py", "crlf.py"), "no_end.py")
    (tree / "crlf.py").write_bytes(b"mine\n")
    before = everything(tree)
    found = carry_out(tree, plan)
    assert states(found) == {"bom.py": "conflict", "no_end.py": "done"}
    assert everything(tree) == before | {"no_end.py": (b"UserEngine()", *before["no_end.py"][1:])}
    assert not found.clean


def test_a_file_that_is_edited_between_looking_and_writing_is_not_overwritten(tree):
    with pytest.raises(Conflict, match="meanwhile"):
        replace(tree, "bom.py", b"new", expected=digest(b"something else"))
    assert everything(tree)["bom.py"][0] == NASTY["bom.py"]


def test_a_rollback_leaves_what_was_edited_since_and_takes_the_rest_back(tree):
    before = everything(tree)
    carry_out(tree, plan_of(tree, "bom.py", "crlf.py"))
    (tree / "crlf.py").write_bytes(b"mine\n")
    assert states(rollback(tree)) == {"bom.py": "returned", "crlf.py": "conflict"}
    assert everything(tree) == before | {"crlf.py": (b"mine\n", *before["crlf.py"][1:])}


def test_a_rollback_can_be_of_a_file_a_batch_or_a_phase(tree):
    before = everything(tree)
    phases = (Phase(name="a", batch=1), Phase(name="b", batch=2))
    plan = plan_of(tree, "bom.py", "crlf.py", phase="a")
    more = plan_of(tree, ("no_end.py", "old_mac.py"), "form_feed.py", phase="b")
    carry_out(tree, type(plan)(units=plan.units + more.units), *phases)
    after = applied(before)
    rollback(tree, file="old_mac.py")
    assert everything(tree)["no_end.py"] == before["no_end.py"]
    rollback(tree, batch=2)
    assert everything(tree)["crlf.py"] == before["crlf.py"]
    assert everything(tree)["bom.py"] == after["bom.py"]
    rollback(tree, phase="b")
    assert everything(tree) == before | {"bom.py": after["bom.py"]}
    with pytest.raises(NoRun):
        rollback(tree, batch=17)
    assert rollback(tree).status == "rolled_back"
    assert everything(tree) == before
    with pytest.raises(NoRun):
        rollback(tree)


def test_one_file_that_does_not_pass_costs_its_batch_nothing(tree, tmp_path):
    files = {f"f{number}.py": f"OldEngine({number})\n" for number in range(9)}
    write(tree, files)
    text = "import sys\nfor p in sys.argv[1:]:\n  t = open(p).read()\n  if 'UserEngine(5)' in t: sys.exit('FAILED 5')\n"
    phase = Phase(name="all", batch=9, validate=script(tmp_path, "check.py", text))
    found = carry_out(tree, plan_of(tree, *files), phase)
    assert states(found) == {name: "failed" if name == "f5.py" else "done" for name in files}
    assert (tree / "f5.py").read_text() == "OldEngine(5)\n"
    [failed] = [entry for entry in found.entries if entry.state == "failed"]
    assert (failed.code, failed.detail) == ("validation", "FAILED 5\n")


def test_files_that_fail_only_together_cost_one_of_them(tree, tmp_path):
    write(tree, {"f1.py": "OldEngine()\n", "f2.py": "OldEngine()\n", "f3.py": "OldEngine()\n"})
    text = f"import sys\nsys.exit(all('User' in open({str(tree)!r} + n).read() for n in ('/f1.py', '/f3.py')))\n"
    phase = Phase(name="all", validate=script(tmp_path, "check.py", text))
    assert states(carry_out(tree, plan_of(tree, "f1.py", "f2.py", "f3.py"), phase)) == {
        "f1.py": "done",
        "f2.py": "done",
        "f3.py": "failed",
    }


def test_what_failed_before_is_not_held_against_a_file_but_a_new_failure_is(tree, tmp_path):
    text = "import sys\nnew = 'User' in open(sys.argv[1]).read()\nprint('FAILED t::old')\n"
    same = Phase(name="all", validate=script(tmp_path, "same.py", text + "sys.exit(1)"))
    found = carry_out(tree, plan_of(tree, "bom.py"), same)
    assert states(found) == {"bom.py": "done"}
    assert "as it did before" in found.entries[0].detail
    worse = Phase(name="all", validate=script(tmp_path, "worse.py", text + "print('FAILED t::new' * new)\nsys.exit(1)"))
    assert states(carry_out(tree, plan_of(tree, "no_end.py"), worse)) == {"no_end.py": "failed"}


def test_a_validation_that_fails_once_is_run_again(tree, tmp_path):
    text = (
        "import sys, pathlib\n"
        f"seen = pathlib.Path({str(tmp_path / 'seen')!r})\n"
        "if 'User' in open(sys.argv[1]).read() and not seen.exists(): seen.touch(); sys.exit(1)\n"
    )
    phase = Phase(name="all", validate=script(tmp_path, "flaky.py", text))
    found = carry_out(tree, plan_of(tree, "bom.py"), phase)
    assert states(found) == {"bom.py": "done"}
    assert "again" in found.entries[0].detail


def test_a_validation_that_hangs_is_killed_with_what_it_started(tree, tmp_path):
    deaf = "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint(1, flush=True)\ntime.sleep(600)\n"
    write(tmp_path, {"deaf.py": deaf})
    text = (
        "import subprocess, sys, time\n"
        "if 'User' in open(sys.argv[1]).read():\n"
        f"  child = subprocess.Popen([sys.executable, {str(tmp_path / 'deaf.py')!r}], stdout=subprocess.PIPE)\n"
        "  child.stdout.readline()\n"
        f"  open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid))\n"
        "  time.sleep(600)\n"
    )
    phase = Phase(name="all", timeout=15, validate=script(tmp_path, "hang.py", text))
    found = carry_out(tree, plan_of(tree, "bom.py"), phase)
    assert states(found) == {"bom.py": "failed"}
    assert found.entries[0].code == "timeout"
    assert everything(tree)["bom.py"][0] == NASTY["bom.py"]
    child = int((tmp_path / "child").read_text())
    # What is killed may not have been waited for yet; nobody else can do that here than init.
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_too_many_failures_stop_the_run_which_can_be_gone_on_with(tree, tmp_path):
    switch = tmp_path / "mended"
    text = f"import os, sys\nsys.exit(not os.path.exists({str(switch)!r}) and 'User' in open(sys.argv[1]).read())\n"
    phase = Phase(name="all", batch=1, stop_after_failures=2, validate=script(tmp_path, "check.py", text))
    found = carry_out(tree, plan_of(tree, *sorted(NASTY)), phase)
    assert found.status == "stopped"
    assert list(states(found).values()) == ["failed", "failed", "planned", "planned", "planned", "planned"]
    with running.opened(tree) as journal, pytest.raises(RunUnfinished):
        running.begin(journal, tree, plan_of(tree), (phase,), allow_dirty=False)
    switch.touch()
    assert list(states(resume(tree)).values()) == ["failed", "failed", "done", "done", "done", "done"]


def test_a_command_that_is_not_there_ends_the_run_before_anything_is_written(tree):
    before = everything(tree)
    with pytest.raises(CommandMissing):
        carry_out(tree, plan_of(tree, "bom.py"), Phase(name="all", validate="no-such-command {files}"))
    assert everything(tree) == before


def test_files_with_changes_that_are_not_committed_are_refused_unless_asked(tree):
    in_git(tree)
    (tree / "bom.py").write_bytes(b"OldEngine(1)\n")
    with pytest.raises(WorkTreeDirty) as raised:
        carry_out(tree, plan_of(tree, "bom.py", "crlf.py"))
    assert raised.value.paths == ("bom.py",)
    assert carry_out(tree, plan_of(tree, "crlf.py")).clean
    assert carry_out(tree, plan_of(tree, "bom.py"), allow_dirty=True).clean


@pytest.mark.parametrize(("policy", "commits"), [("none", 1), ("batch", 4), ("phase", 2)])
def test_what_is_validated_is_committed_by_batch_by_phase_or_not(tree, policy, commits):
    in_git(tree)
    write(tree, {"other.txt": "staged, and no part of it"})
    git(tree, "add", "other.txt")
    carry_out(tree, plan_of(tree, *NASTY), Phase(name="all", batch=2, commit=policy))
    assert len(git(tree, "log", "--format=%h").split()) == commits
    assert git(tree, "status", "--porcelain", "other.txt") == "A  other.txt\n"
    assert git(tree, "status", "--porcelain", "--ignored", ".netra_migrate") != "?? .netra_migrate/\n"


def test_a_tree_has_one_runner(tree):
    text = (
        "import sys\nfrom pathlib import Path\nfrom netra_apex.migrate import running\n"
        "with running.opened(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", text, str(tree)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(TreeLocked), running.opened(tree):
            pass
        process.kill()
        process.wait(30)
        with running.opened(tree):
            pass


def test_a_plan_is_the_same_after_it_was_written_and_read(tree):
    import json

    plan = plan_of(tree, *NASTY)
    text = json.dumps(plan.to_json())
    assert read_plan(text) == plan
    with pytest.raises(PlanUnreadable):
        read_plan(text.replace('"version": 1', '"version": 99'))


def test_an_edit_that_was_changed_by_hand_is_a_conflict(tree):
    import json

    text = json.dumps(plan_of(tree, "bom.py").to_json()).replace('"after": "UserEngine"', '"after": "exec"')
    before = everything(tree)
    assert states(carry_out(tree, read_plan(text))) == {"bom.py": "conflict"}
    assert everything(tree) == before
