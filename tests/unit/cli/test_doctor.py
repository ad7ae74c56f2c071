"""`netra doctor`: each setting with its source, and what is wrong."""

import json
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.command import netra

from netra_apex.stores.sqlite import ExecutorLock

SECRET = "aVeryLongSecretWithManyLetters0123456789"


def doctor(folder: Path, **env: str) -> tuple[int, dict[str, dict[str, Any]], list[dict[str, str]]]:
    done = netra("doctor", "--json", cwd=folder, **env)
    report = json.loads(done.out)
    return done.code, {setting["name"]: setting for setting in report["settings"]}, report["checks"]


def make_database(folder: Path) -> None:
    done = netra("user", "add", "ada", "--password-stdin", cwd=folder, stdin="correct horse battery staple\n")
    assert done.code == 0


def states(checks: list[dict[str, str]]) -> dict[str, str]:
    return {check["name"]: check["state"] for check in checks}


def test_a_fresh_folder_is_well_and_the_demo_model_is_a_warning(tmp_path: Path) -> None:
    code, settings, checks = doctor(tmp_path)
    assert code == 0
    assert states(checks) == {
        "home": "ok",
        "database": "ok",
        "disk": "ok",
        "executor": "ok",
        "origins": "ok",
        "model": "warning",
    }
    assert settings["NETRA_RUNS_PER_USER"] == {"name": "NETRA_RUNS_PER_USER", "value": 3, "source": "default"}
    assert not (tmp_path / "home").exists()


def test_values_have_their_source_and_secrets_are_masked(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NETRA_PORT=8001\n")
    (tmp_path / "pyproject.toml").write_text("[tool.netra]\nhost = 'localhost'\n")
    done = netra("doctor", cwd=tmp_path, NETRA_SECRET_KEY=SECRET, OPENAI_BASE_URL="http://me:pass@127.0.0.1:9/v1")
    rows = {line.split()[0]: line.split()[:0:-1] for line in done.out.splitlines() if line.strip()}
    assert rows["NETRA_PORT"] == ["8001", ".env"]
    assert rows["NETRA_HOST"] == ["localhost", "pyproject.toml"]
    assert rows["NETRA_SECRET_KEY"] == ["********", "environment"]
    assert rows["OPENAI_BASE_URL"] == ["http://me:********@127.0.0.1:9/v1", "environment"]
    assert SECRET not in done.out + done.err


def test_a_misspelled_variable_is_a_warning(tmp_path: Path) -> None:
    code, _, checks = doctor(tmp_path, NETRA_PROT="8001")
    assert code == 0
    assert {"name": "setting", "state": "warning", "detail": "NETRA_PROT is no setting: misspelled?"} in checks


def test_a_misspelled_name_in_a_file_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NETRA_RUN_PER_USER=7\n")
    (tmp_path / "pyproject.toml").write_text("[tool.netra]\nrun_per_user = 7\n")
    code, _, checks = doctor(tmp_path)
    assert code == 0
    assert [check["detail"] for check in checks if check["name"] == "setting"] == [
        "NETRA_RUN_PER_USER in .env is no setting: misspelled?",
        "run_per_user in [tool.netra] is no setting: misspelled?",
    ]


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("bogus:x", "bogus:x is misspelled (there is no provider 'bogus' here), or needs Pydantic AI, which"),
        ("anthropic:x", "anthropic:x needs Pydantic AI, which"),
    ],
)
def test_without_pydantic_ai_a_provider_that_may_be_its_own_says_how_to_get_it(
    model: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "absent" / "pydantic_ai").mkdir(parents=True)
    (tmp_path / "absent" / "pydantic_ai" / "__init__.py").write_text("raise ImportError('not installed')")
    code, _, checks = doctor(tmp_path, NETRA_MODEL=model, PYTHONPATH=str(tmp_path / "absent"))
    assert code == 1
    assert next(check["detail"] for check in checks if check["name"] == "model") == (
        f'{said} is not installed: pip install "netra-apex[providers]"; in a checkout: pip install -e ".[providers]"'
    )


def test_a_model_that_cannot_be_reached_is_wrong(tmp_path: Path) -> None:
    env = {"NETRA_MODEL": "openai:x", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "OPENAI_API_KEY": "k"}
    code, _, checks = doctor(tmp_path, **env)
    assert code == 1
    assert states(checks)["model"] == "wrong"
    code, _, checks = doctor(tmp_path, NETRA_MODEL="nonesuch:x")
    assert code == 1
    assert states(checks)["model"] == "wrong"


def test_a_home_that_others_can_read_is_wrong(tmp_path: Path) -> None:
    make_database(tmp_path)
    assert states(doctor(tmp_path)[2])["home"] == "ok"
    (tmp_path / "home" / "netra.db").chmod(0o644)
    code, _, checks = doctor(tmp_path)
    assert code == 1
    assert f"chmod 600 {tmp_path}/home/netra.db" in next(c["detail"] for c in checks if c["name"] == "home")


def test_a_file_that_is_no_database_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home" / "netra.db").write_text("not a database " * 500)
    (tmp_path / "home" / "netra.db").chmod(0o600)
    code, _, checks = doctor(tmp_path)
    assert code == 1
    assert states(checks)["database"] == "wrong"


def test_the_process_that_executes_runs_is_named(tmp_path: Path) -> None:
    make_database(tmp_path)
    lock = ExecutorLock(tmp_path / "home" / "netra.db")
    try:
        detail = next(check["detail"] for check in doctor(tmp_path)[2] if check["name"] == "executor")
    finally:
        lock.release()
    assert "executes runs here (" in detail
    assert f"process {os.getpid()} " in detail


@pytest.mark.parametrize(
    ("origins", "state"), [("http://example.org", "warning"), ("http://localhost:3000", "ok"), ("https://a.org", "ok")]
)
def test_an_origin_without_encryption_is_a_warning(origins: str, state: str, tmp_path: Path) -> None:
    code, _, checks = doctor(tmp_path, NETRA_ALLOWED_ORIGINS=origins)
    assert code == 0
    assert next(check["state"] for check in checks if check["name"] == "origins") == state


def test_behind_a_proxy_origins_are_asked_for(tmp_path: Path) -> None:
    assert states(doctor(tmp_path, NETRA_TRUSTED_PROXIES="10.0.0.1")[2])["origins"] == "warning"


def test_telemetry_is_checked_where_it_is_on(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as receiver:
        here = f"http://127.0.0.1:{receiver.getsockname()[1]}"
        _, _, checks = doctor(tmp_path, NETRA_TELEMETRY="on", OTEL_EXPORTER_OTLP_ENDPOINT=here)
        assert states(checks)["telemetry"] == "ok"
    _, _, checks = doctor(tmp_path, NETRA_TELEMETRY="on", OTEL_EXPORTER_OTLP_ENDPOINT=here)
    assert states(checks)["telemetry"] == "warning"


def test_a_long_value_pushes_no_other_column_out_of_sight(tmp_path: Path) -> None:
    lines = netra("doctor", cwd=tmp_path).out.splitlines()
    assert lines[0].split() == ["SETTING", "SOURCE", "VALUE"]
    assert {line.split()[1] for line in lines[1 : lines.index("")]} <= {"environment", "default"}
    assert max(line.index("default") for line in lines if line.startswith("NETRA_") and "default" in line) < 60
