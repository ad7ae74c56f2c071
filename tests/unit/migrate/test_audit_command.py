"""`netra audit` as its users run it: exit codes, what is on stdout, suppressions, baseline, cache, `--since`."""

import json
import sqlite3
import subprocess

import pytest
from tests.architecture.reading import ROOT
from tests.unit.cli.command import netra
from tests.unit.migrate.tree import found, report, write

from netra_apex.migrate import config
from netra_apex.migrate.audit import Work, audit

CLEAN = {"app/one.py": "x = 1", "app/two.py": "from app.one import x"}
BROKEN = {**CLEAN, "app/two.py": "from app.one import gone"}


def git(folder, *words):
    name = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *name, *words], cwd=folder, check=True, capture_output=True)


def test_a_clean_tree_is_0_and_findings_are_1(tmp_path):
    write(tmp_path, CLEAN)
    done = netra("audit", cwd=tmp_path)
    assert (done.code, done.out, done.err) == (0, "3 files: nothing found\n", "")
    write(tmp_path, BROKEN)
    done = netra("audit", ".", "--format", "json", cwd=tmp_path)
    assert (done.code, done.err) == (1, "")
    assert [each["rule"] for each in json.loads(done.out)["findings"]] == ["R002"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere",), "there is no nowhere"),
        (("--format", "xml"), "xml"),
        (("--select", "Q"), "there is no rule or family 'Q'"),
        (("--explain", "Q001"), "there is no rule 'Q001'"),
        (("--baseline", "none.txt"), "there is no baseline none.txt"),
        (("--write-baseline",), "--write-baseline needs --baseline"),
        (("--baseline", "b.txt", "--write-baseline", "--select", "R"), "--write-baseline needs --baseline"),
        (("--since", "HEAD"), "git rev-parse"),
        (("--preset", "nobody"), "there is no preset 'nobody'; there are netra-apex"),
        (("--config", "lost.toml"), "cannot be read"),
    ],
)
def test_wrong_usage_is_2_with_a_sentence(tmp_path, words, said):
    write(tmp_path, CLEAN)
    done = netra("audit", *words, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_strict_is_3_where_a_file_does_not_parse(tmp_path):
    write(tmp_path, {**CLEAN, "app/bad.py": "def ("})
    assert netra("audit", "--ignore", "E", cwd=tmp_path).code == 0
    done = netra("audit", "--ignore", "E", "--strict", cwd=tmp_path)
    assert (done.code, "1 files could not be analysed" in done.err) == (3, True)


def test_a_folder_or_file_below_is_audited_with_its_project(tmp_path):
    write(tmp_path, {**BROKEN, "ssot.toml": "[project]\nroots = ['.']", "other/bad.py": "import app.gone"})
    done = netra("audit", "app", "--format", "concise", cwd=tmp_path)
    assert done.out == "app/two.py:1:21: R002 app.one has no gone: the module cannot be loaded\n"
    assert netra("audit", "app/one.py", cwd=tmp_path).code == 0
    assert "other/bad.py" in netra("audit", "other/bad.py", cwd=tmp_path).out


def test_since_tells_only_of_files_that_changed(tmp_path):
    write(tmp_path, {**CLEAN, "app/three.py": "import app.gone"})
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    write(tmp_path, {"app/two.py": "from app.one import gone", "app/new.py": "import app.lost"})
    done = netra("audit", "--since", "HEAD", "--format", "concise", cwd=tmp_path)
    assert [line.split(":")[0] for line in done.out.splitlines()] == ["app/new.py", "app/two.py"]


def test_git_says_which_files_there_are(tmp_path):
    write(tmp_path, {**CLEAN, "generated.py": "import app.gone", ".gitignore": "generated.py"})
    git(tmp_path, "init", "-q")
    assert found(tmp_path, {}, "R") == []
    (tmp_path / ".gitignore").unlink()
    assert found(tmp_path, {}, "R") == ["generated.py:1 R001 error"]


def test_explain_and_stats_and_init_are_for_people(tmp_path):
    write(tmp_path, {**BROKEN, "app/a.py": "class ToolRegistry: ...", "app/b.py": "class UserToolRegistry: ..."})
    write(tmp_path, {"app/user.py": "from app.b import UserToolRegistry"})
    assert "R002: a name that its module does not have" in netra("audit", "--explain", "r002", cwd=tmp_path).out
    assert "1      R002  a name that its module does not have" in netra("audit", "--stats", cwd=tmp_path).out
    proposed = netra("audit", "--init", cwd=tmp_path)
    assert proposed.code == 0
    assert "app.b.UserToolRegistry at app/b.py:1, imported by 1 modules" in proposed.out
    (tmp_path / "ssot.toml").write_text(proposed.out)
    assert config.load(tmp_path).canonicals[0].symbol == "app.b.UserToolRegistry"


def test_a_suppression_needs_a_rule_and_a_reason_and_something_to_suppress(tmp_path):
    text = """
        from app.one import a  # ssot: ignore[R002] made by a plugin
        from app.one import b  # ssot: ignore[R]
        # ssot: ignore[R002, D001] made by a plugin
        from app.one import c
        from app.one import d  # ssot: ignore
        x = "# ssot: ignore[R002] a string is no comment"; from app.one import e
    """
    assert found(tmp_path, {**CLEAN, "app/user.py": text}) == [
        "app/user.py:2 X002 warning",
        "app/user.py:3 X001 warning",
        "app/user.py:5 X003 warning",
        "app/user.py:5 R002 error",
        "app/user.py:6 R002 error",
    ]


def test_a_baseline_knows_what_was_there_and_only_shrinks(tmp_path):
    write(tmp_path, BROKEN)
    with_it = ("audit", "--baseline", "known.txt")
    assert netra(*with_it, "--write-baseline", cwd=tmp_path).code == 0
    lines = (tmp_path / "known.txt").read_text().splitlines()
    assert lines[1:] == ["R002\tapp/two.py\tapp.one.gone"]
    write(tmp_path, {"app/two.py": "#\n#\nfrom app.one import gone\nimport app.lost"})
    done = netra(*with_it, "--format", "concise", cwd=tmp_path)
    assert (done.code, done.out.split(": ")[0]) == (1, "app/two.py:4:8")
    done = netra(*with_it, "--write-baseline", cwd=tmp_path)
    assert done.code == 1
    assert "1 new ones not taken" in done.err
    assert (tmp_path / "known.txt").read_text().splitlines() == lines
    write(tmp_path, CLEAN)
    done = netra(*with_it, cwd=tmp_path)
    assert (done.code, "X004" in done.out) == (1, True)
    assert netra(*with_it, "--select", "R", cwd=tmp_path).code == 0
    assert netra(*with_it, "--write-baseline", cwd=tmp_path).code == 0
    assert (tmp_path / "known.txt").read_text().splitlines() == lines[:1]


def test_a_baseline_of_two_branches_must_be_merged(tmp_path):
    write(tmp_path, CLEAN)
    (tmp_path / "known.txt").write_text("# x\n<<<<<<< ours\nR002\ta\tb\n")
    assert netra("audit", "--baseline", "known.txt", cwd=tmp_path).code == 2


def test_what_changed_is_seen_and_what_did_not_is_taken_from_the_cache(tmp_path):
    write(tmp_path, BROKEN)
    work = Work(jobs=1)
    first = audit(tmp_path, config.load(tmp_path), work)
    assert (tmp_path / ".netra_audit" / ".gitignore").read_text() == "*\n"
    assert audit(tmp_path, config.load(tmp_path), work) == first
    write(tmp_path, {"app/one.py": "gone = 1"})
    assert audit(tmp_path, config.load(tmp_path), work).findings == ()
    (tmp_path / "app" / "one.py").unlink()
    assert [each.rule for each in audit(tmp_path, config.load(tmp_path), work).findings] == ["R001"]


@pytest.mark.parametrize("damage", ["garbage", "cut", "rows", "stats", "locked", "folder"])
def test_a_cache_that_is_broken_changes_no_finding(tmp_path, damage):
    write(tmp_path, BROKEN)
    first = report(tmp_path, cached=True)
    path = tmp_path / ".netra_audit" / "cache.sqlite"
    data = path.read_bytes()
    with sqlite3.connect(path) as connection:
        match damage:
            case "garbage":
                path.write_bytes(b"no database at all" * 1000)
            case "cut":
                path.write_bytes(data[: len(data) // 2])
            case "rows":
                connection.execute("update facts set head = zeroblob(20), body = zeroblob(20)")
                connection.execute("update reports set data = zeroblob(20)")
            case "stats":
                connection.execute("update files set digest = zeroblob(16)")
            case "locked":
                connection.execute("begin exclusive")
                assert report(tmp_path, cached=True) == first
            case _:
                path.unlink()
                path.mkdir()
    connection.close()
    assert report(tmp_path, cached=True) == first


def test_the_preset_knows_the_old_names_of_this_project(tmp_path):
    files = {
        "app/user.py": """
            import time
            from netra_apex.compat import ExecutionEngine
            ExecutionEngine(1, 2, 3)
            def wait(): time.sleep(1)
        """
    }
    write(tmp_path, files)
    done = netra("audit", "--preset", "netra-apex", "--format", "concise", cwd=tmp_path)
    assert [line.split(" ")[1] for line in done.out.splitlines()] == ["D001", "D003", "P001"]


def test_the_hooks_of_pre_commit_name_commands_that_there_are():
    text = (ROOT / ".pre-commit-hooks.yaml").read_text("utf-8")
    entries = [line.partition("entry: ")[2] for line in text.splitlines() if "entry: " in line]
    assert entries == ["netra audit --format concise", "netra audit --format concise --baseline netra-audit.baseline"]
