"""What holds for every command: help, version, exit codes, plain sentences."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.command import environment, netra

from netra_apex.cli import internal_error
from netra_apex.cli.terminal import one_line, printable, read_password
from netra_apex.errors import ConfigurationError

SUPPLIED_MODULES = ("aiohttp", "fastapi", "pydantic", "prompt_toolkit", "sqlite3", "rich.console", "msgspec")


def test_help_names_the_commands_and_the_later_ones_are_absent(tmp_path: Path) -> None:
    done = netra("--help", cwd=tmp_path)
    assert done.code == 0
    listed = [line.split()[0] for line in done.out.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == [
        *("serve", "worker", "chat", "new", "probe", "leaktest", "report", "doctor", "audit"),
        *("user", "runs", "db", "migrate"),
    ]


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"import sys, netra_apex.cli; print([name for name in {SUPPLIED_MODULES!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"


def test_help_needs_none_of_the_heavy_parts(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from netra_apex.cli import app\n"
        "import typer\n"
        "try: typer.main.get_command(app)(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'fastapi', 'uvicorn', 'aiohttp', 'asyncpg', 'pydantic', 'prompt_toolkit', 'sqlite3'}\n"
        "print('loaded:', sorted(heavy & sys.modules.keys()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=True
    )
    assert "loaded: []" in done.stdout


def test_version_is_the_distributions(tmp_path: Path) -> None:
    done = netra("--version", cwd=tmp_path)
    assert (done.code, done.out.split()[0]) == (0, "netra")


@pytest.mark.parametrize(
    "args",
    [
        ("nonsense",),
        ("user",),
        ("chat", "--nonsense"),
        ("probe", "http://127.0.0.1:1", "--user", "ada", "--count", "0"),
        ("probe", "localhost", "--user", "ada", "--password-stdin"),
        ("probe", "http://127.0.0.1:1"),
        ("chat", "--password-stdin"),
        ("serve", "nowhere.py"),
        ("serve", "--port", "99999"),
        ("runs", "list", "--status", "bogus"),
        ("user", "add", "default", "--password-stdin"),
        ("user", "add", "--password-stdin"),
        ("new", "a/b?"),
    ],
)
def test_wrong_usage_ends_with_2_and_a_sentence_and_no_traceback(args: tuple[str, ...], tmp_path: Path) -> None:
    done = netra(*args, cwd=tmp_path, stdin="correct horse battery staple\n")
    assert done.code == 2
    assert done.out == "" or args == ("user",)
    assert done.err.strip() or done.out.strip()
    assert "Traceback" not in done.err


def test_a_setting_that_is_wrong_ends_with_2_and_names_it(tmp_path: Path) -> None:
    done = netra("doctor", cwd=tmp_path, NETRA_RUNS_PER_USER="many")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("NETRA_RUNS_PER_USER: ")
    assert len(done.err.splitlines()) == 1


def test_what_nobody_expected_ends_with_3_and_a_traceback() -> None:
    code = "import sys; from netra_apex.cli import internal_error; sys.excepthook = internal_error; 1 / 0"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 3
    assert "ZeroDivisionError" in done.stderr
    assert "this is a bug in netra" in done.stderr


def test_the_hook_for_the_unexpected_leaves_by_system_exit(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        internal_error(ValueError, ValueError("x"), None)
    assert left.value.code == 3
    assert "ValueError: x" in capsys.readouterr().err


def test_an_unreachable_server_is_a_sentence_and_1(tmp_path: Path) -> None:
    args = ("chat", "--url", "http://127.0.0.1:9", "--user", "ada", "--password-stdin")
    done = netra(*args, cwd=tmp_path, stdin="correct horse battery staple\nhi\n")
    assert (done.code, done.out) == (1, "")
    assert done.err == "no server answers at http://127.0.0.1:9: Connection refused\n"


def test_text_from_elsewhere_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\tc\nd\x07") == "a\N{REPLACEMENT CHARACTER}[2Jb\tc\nd\N{REPLACEMENT CHARACTER}"
    assert printable("Grüße 🌍") == "Grüße 🌍"
    assert one_line("a\n\n b " + "c" * 50, 10) == "a b ccccc…"


def test_without_a_terminal_a_password_must_come_on_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        with pytest.raises(ConfigurationError, match="--password-stdin"):
            read_password(from_stdin=False)
        with pytest.raises(ConfigurationError, match="first line of stdin"):
            read_password(from_stdin=True)


def test_the_environment_of_a_test_has_nobodys_settings(tmp_path: Path) -> None:
    assert [name for name in environment(tmp_path) if name.startswith("NETRA_")] == ["NETRA_HOME"]
