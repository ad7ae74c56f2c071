"""The leak test finds each of the documented causes, planted in an application each, and nothing in clean ones."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.server import PASSWORD, Server

from netra_apex.cli.loading import load_registry
from netra_apex.testing.leaktest import leaktest

PLANTED = Path(__file__).with_name("planted")
EXAMPLES = Path(__file__).parents[2] / "examples"
COMMAND = [sys.executable, "-c", "from netra_apex.cli import main; main()", "leaktest"]

# Where each cause is: a part of what the finding says of the place, and its line.
CAUSES = {
    "shared_tool_instance": ("TOOLKIT.asked_by", "TOOLKIT.asked_by = query"),
    "module_global": ("last_query", "last_query = query"),
    "shared_definition": ("PROMPT['system']", 'PROMPT["system"] +='),
    "cached_by_name": ("CLIENTS['bank'].token", 'CLIENTS.setdefault("bank"'),
    "one_session": ("SESSION.headers['authorization']", 'SESSION.headers["authorization"] = token'),
    "colliding_ids": ("JOBS[", "JOBS[job] = query"),
    "pool_out_of_step": ("POOL.free[…].sent[…]", "self.sent.append(query)"),
    "cache_without_owner": ("SAVED['latest']", 'SAVED.setdefault("latest"'),
    "identity_from_the_model": ("read_notes", 'NOTES.get(user_id, "none")'),
    "child_unchecked": ("COMMENTS[", "comments = COMMENTS.setdefault(thread_id, [])"),
    "second_surface": ("list_notes", "list(NOTES.values())"),
    "copy_that_shares": ("PROTOTYPE.lines[…]", "notebook.lines.append(task)"),
    "missing_identity": ("BASKETS[''][…]", "BASKETS.setdefault(tenant, [])"),
    "broadcast": ("announce", "LISTENERS.add(mine)"),
}


SEEDS = 5  # the right moment for a cancel may take more than one


def ran(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False, timeout=120)


# Those that keep what is one user's, and seldom or never show it to another.
KEPT_ALONE = {"module_global", "colliding_ids", "pool_out_of_step", "copy_that_shares"}


@pytest.mark.parametrize("name", CAUSES)
def test_a_planted_cause_is_found_with_its_agent_its_place_its_line_and_both_users(name: str) -> None:
    where, code = CAUSES[name]
    for seed in range(SEEDS):
        found = leaktest(load_registry(str(PLANTED / f"{name}.py")), seed=seed).findings
        at = [each for each in found if where in each.where and each.path is not None]
        if at:
            break
    assert at, found
    assert at[0].agent == "assistant"
    assert at[0].path == str(PLANTED / f"{name}.py")
    assert at[0].line is not None
    lines = (PLANTED / f"{name}.py").read_text("utf-8").splitlines()
    assert code in lines[at[0].line - 1]
    crossed = [each for each in found if each.kind in ("event", "prompt")]
    assert crossed or name in KEPT_ALONE, found
    for each in crossed:
        assert len({user for user in each.users if user.startswith("leak-user-")}) == 2


def test_a_class_attribute_that_can_change_is_refused_at_registration_which_is_a_finding() -> None:
    done = ran(str(PLANTED / "class_attribute.py"), "--json")
    assert done.returncode == 1
    (found,) = json.loads(done.stdout)["findings"]
    assert (found["kind"], found["agent"]) == ("registration", "Assistant")
    assert "its class attribute seen is a list" in found["message"]


def test_the_fifteen_planted_applications_are_the_causes() -> None:
    assert {path.stem for path in PLANTED.glob("*.py")} == {*CAUSES, "class_attribute", "clean"}


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_found_where_what_is_shared_is_under_its_owners_id(seed: int) -> None:
    report = leaktest(load_registry(str(PLANTED / "clean.py")), seed=seed)
    assert report.findings == ()
    assert report.runs == 10 * (3 * 6 + 1)
    assert report.prompts > 100
    assert report.events > 1000
    assert report.rows > 1000


def test_nothing_is_found_in_the_built_in_team() -> None:
    done = ran("--json")
    assert json.loads(done.stdout)["findings"] == []
    assert done.returncode == 0


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_nothing_is_found_in_the_examples(example: Path) -> None:
    if "\nregistry = " not in example.read_text("utf-8"):
        pytest.skip("it has no registry")
    done = ran(str(example), "--users", "4")
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_application_that_is_not_there_is_a_wrong_use() -> None:
    done = ran("nowhere.py")
    assert done.returncode == 2
    assert "there is no file nowhere.py" in done.stderr


def test_one_user_alone_proves_nothing() -> None:
    assert ran("--users", "1").returncode == 2
    with pytest.raises(ValueError, match="two users"):
        leaktest(load_registry(None), users=1)


def test_the_fixture_fails_a_test_whose_agents_leak_and_the_marker_says_with_how_many_users(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import pytest\n"
        "from netra_apex.cli.loading import load_registry\n"
        f"PLANTED = {str(PLANTED)!r}\n"
        "@pytest.mark.leaktest(users=3)\n"
        "def test_leaks(leaktest):\n"
        "    leaktest(load_registry(PLANTED + '/second_surface.py'))\n"
        "@pytest.mark.leaktest(users=3)\n"
        "def test_is_clean(leaktest):\n"
        "    assert leaktest(load_registry(PLANTED + '/clean.py')).users == 3\n"
    )
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "second_surface.py:24: event: agent assistant, list_notes" in done.stdout


@pytest.mark.parametrize(("app", "leaks"), [("clean", False), ("second_surface", True)])
def test_a_running_server_is_tested_from_outside_as_its_users(tmp_path: Path, app: str, *, leaks: bool) -> None:
    with Server(tmp_path, app=PLANTED / f"{app}.py", people=4) as server:
        people = tmp_path / "people.jsonl"
        accounts = [server.person() for _ in range(4)]
        people.write_text("".join(json.dumps({"name": name, "password": PASSWORD}) + "\n" for name in accounts))
        done = ran("--url", server.url, "--people", str(people), "--json")
    report = json.loads(done.stdout)
    assert report["users"] == 4
    assert done.returncode == (1 if leaks else 0), report
    if leaks:
        assert {each["where"] for each in report["findings"]} >= {"list_notes"}
    else:
        assert report["events"] > 50


def test_a_server_and_an_application_at_once_are_a_wrong_use(tmp_path: Path) -> None:
    assert ran("app.py", "--url", "http://127.0.0.1:1", "--people", str(tmp_path)).returncode == 2
    assert ran("--url", "http://127.0.0.1:1").returncode == 2
