"""Settings: one frozen value, its sources in order, and a sentence for each value that is wrong."""

import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from netra_apex.errors import ConfigurationError
from netra_apex.settings import (
    MIN_SECRET,
    Settings,
    environment_for_tools,
    is_loopback,
    sources,
    unknown_names,
    variable,
)

SECRET = "kX9-w2Qz_7LmNp4RtYv8BcDfGhJk3s5T"


@pytest.fixture(autouse=True)
def in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(**flags: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        Settings.load(**flags)
    return str(refused.value)


def test_the_defaults_are_the_contracts() -> None:
    settings = Settings.load()
    wanted = {
        "home": Path(".netra"),
        "database_url": None,
        "host": "127.0.0.1",
        "port": 8000,
        "secret_key": None,
        "allowed_origins": (),
        "model": None,
        "access_token_seconds": 900,
        "runs_per_user": 3,
        "queued_per_user": 20,
        "connections_per_user": 10,
        "history_messages": 100,
        "runs_per_process": 250,
        "body_bytes": 1_048_576,
        "agent_timeout_seconds": 120,
        "tool_timeout_seconds": 30,
        "frame_bytes": 65_536,
        "frames_per_minute": 60,
        "frames_burst": 30,
        "heartbeat_seconds": 25,
        "drain_seconds": 20,
        "tool_result_bytes": 65_536,
        "tool_memory_bytes": 1_073_741_824,
        "tool_processes": 16,
        "tool_processes_per_user": 4,
        "max_turns": 20,
    }
    assert {name: getattr(settings, name) for name in wanted} == wanted
    assert settings.database_path == Path(".netra/netra.db")


def test_a_flag_goes_before_the_environment_before_dotenv_before_pyproject_before_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen = [(Settings.load().port, sources()["port"])]
    (tmp_path / "pyproject.toml").write_text("[tool.netra]\nport = 8001\n")
    seen.append((Settings.load().port, sources()["port"]))
    (tmp_path / ".env").write_text("NETRA_PORT=8002\nOTHER=1\n")
    seen.append((Settings.load().port, sources()["port"]))
    monkeypatch.setenv("NETRA_PORT", "8003")
    seen.append((Settings.load().port, sources()["port"]))
    seen.append((Settings.load(port=8004).port, sources({"port": 8004})["port"]))
    assert seen == [
        (8000, "default"),
        (8001, "pyproject.toml"),
        (8002, ".env"),
        (8003, "environment"),
        (8004, "flag"),
    ]
    assert Settings.load(port=None).port == 8003  # a flag that was not given
    assert sources({"port": None})["port"] == "environment"


@pytest.mark.parametrize("where", ["environment", ".env", "pyproject.toml", "flag"])
def test_a_providers_key_keeps_its_usual_name_and_its_source_is_told(
    where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    flags: dict[str, Any] = {}
    if where == "environment":
        monkeypatch.setenv("OPENAI_API_KEY", SECRET)
        monkeypatch.setenv("OPENAI_BASE_URL", "https://example.org")
    elif where == ".env":
        (tmp_path / ".env").write_text(f"OPENAI_API_KEY={SECRET}\nOPENAI_BASE_URL=https://example.org\n")
    elif where == "pyproject.toml":
        (tmp_path / "pyproject.toml").write_text(
            f'[tool.netra]\nopenai_api_key = "{SECRET}"\nopenai_base_url = "https://example.org"\n'
        )
    else:
        flags = {"openai_api_key": SECRET, "openai_base_url": "https://example.org"}
    settings = Settings.load(**flags)
    assert settings.openai_api_key
    assert settings.openai_api_key.get_secret_value() == SECRET
    assert settings.openai_base_url == "https://example.org"
    assert sources(flags)["openai_api_key"] == sources(flags)["openai_base_url"] == where
    assert settings.own_secrets() == (SECRET,)


def test_every_fields_source_is_told_and_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sources().keys() == Settings.model_fields.keys()
    assert set(sources().values()) == {"default"}
    monkeypatch.setenv("NETRA_PORT", "")
    assert (Settings.load().port, sources()["port"]) == (8000, "default")


def test_lists_are_comma_separated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRA_ALLOWED_ORIGINS", " https://a.example/, http://b.example:8080 ,")
    monkeypatch.setenv("NETRA_TRUSTED_PROXIES", "10.0.0.1,10.0.0.2")
    settings = Settings.load()
    assert settings.allowed_origins == ("https://a.example", "http://b.example:8080")
    assert settings.trusted_proxies == ("10.0.0.1", "10.0.0.2")
    assert Settings.load(allowed_origins=["https://c.example"]).allowed_origins == ("https://c.example",)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"port": 70_000}, "NETRA_PORT: .*65535"),
        ({"port": -1}, "NETRA_PORT: "),
        ({"port": "x"}, "NETRA_PORT: .*integer"),
        ({"runs_per_user": 0}, "NETRA_RUNS_PER_USER: .*greater than 0"),
        ({"queued_per_user": -1}, "NETRA_QUEUED_PER_USER"),
        ({"agent_timeout_seconds": 0}, "NETRA_AGENT_TIMEOUT_SECONDS: .*greater than 0"),
        ({"frame_bytes": 99}, "NETRA_FRAME_BYTES: .*100"),
        ({"body_bytes": 1023}, "NETRA_BODY_BYTES: .*1024"),
        ({"tool_result_bytes": 255}, "NETRA_TOOL_RESULT_BYTES: .*256"),
        ({"agent_timeout_seconds": "inf"}, "NETRA_AGENT_TIMEOUT_SECONDS"),
        ({"secret_key": "short"}, "NETRA_SECRET_KEY: it has 5 characters; 32 is the least"),
        ({"secret_key": "a" * 40}, "NETRA_SECRET_KEY: it is well known or repeats itself"),
        ({"secret_key": "changeme" + SECRET}, "NETRA_SECRET_KEY: it is well known"),
        ({"secret_key": "SECRET-" + SECRET}, "NETRA_SECRET_KEY: it is well known"),
        ({"database_url": "mysql://x"}, "NETRA_DATABASE_URL: .*sqlite:///PATH"),
        ({"database_url": "postgresql://x"}, "NETRA_DATABASE_URL: it names no database"),
        ({"database_url": "postgresql://x:y/z"}, "NETRA_DATABASE_URL: it is no address"),
        ({"database_url": "sqlite:/x"}, "NETRA_DATABASE_URL: .*sqlite:///PATH"),
        ({"model": "gpt"}, "NETRA_MODEL: 'gpt' is no model: write provider:name"),
        ({"model": ":gpt"}, "NETRA_MODEL"),
        ({"model": "openai:"}, "NETRA_MODEL"),
        ({"allowed_origins": "example.org"}, "NETRA_ALLOWED_ORIGINS: 'example.org' is no origin"),
        ({"allowed_origins": "*"}, "is no origin"),
        ({"allowed_origins": "https://*.example.org"}, "is no origin"),
        ({"allowed_origins": "https://"}, "is no origin"),
        ({"allowed_origins": "https://a.example/path"}, "is no origin"),
        ({"allowed_origins": "ftp://a.example"}, "is no origin"),
        ({"allowed_origins": "null"}, "is no origin"),
        ({"allowed_origins": "https://a.example, nonsense"}, "'nonsense' is no origin"),
    ],
)
def test_a_value_that_is_wrong_is_refused_with_its_variable_and_a_sentence(
    flags: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"(?s){sentence}"):
        Settings.load(**flags)


def test_every_wrong_value_has_a_line_of_its_own() -> None:
    lines = refusal(port="x", model="gpt", secret_key="short").splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == ["NETRA_MODEL", "NETRA_PORT", "NETRA_SECRET_KEY"]


def test_a_flag_that_is_no_setting_is_refused_and_named() -> None:
    assert "agent_timeout" in refusal(agent_timeout=1)


@pytest.mark.parametrize(
    ("name", "text"),
    [("pyproject.toml", "[tool.netra\nport=1"), ("pyproject.toml", b"\xff\xfe"), (".env", b"\xff\xfe\xff")],
)
def test_a_file_that_cannot_be_read_is_refused_with_a_sentence(tmp_path: Path, name: str, text: str | bytes) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError, match=name.replace(".", r"\.")):
        Settings.load()
    with pytest.raises(ConfigurationError, match=name.replace(".", r"\.")):
        sources()


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "", "127.0.0.1.example.org", "localhost.example.org"]
)
@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, "NETRA_SECRET_KEY and NETRA_ALLOWED_ORIGINS"),
        ({"secret_key": SECRET}, "NETRA_ALLOWED_ORIGINS"),
        ({"allowed_origins": "https://a.example"}, "NETRA_SECRET_KEY"),
    ],
)
def test_it_does_not_serve_others_without_a_real_secret_and_origins(
    host: str, given: dict[str, Any], missing: str
) -> None:
    sentence = refusal(host=host, **given)
    assert sentence == f"{host} is not a loopback address: set {missing} to serve on it"


def test_it_serves_others_with_both() -> None:
    settings = Settings.load(host="0.0.0.0", secret_key=SECRET, allowed_origins="https://a.example")
    assert settings.host == "0.0.0.0"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"])
def test_on_loopback_it_needs_nothing(host: str) -> None:
    assert is_loopback(host)
    assert Settings.load(host=host).host == host


def test_variables_that_are_no_setting_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETRA_PROT", "1")
    monkeypatch.setenv("NETRA_OPENAI_API_KEY", "1")
    monkeypatch.setenv("NETRA_PORT", "1")
    monkeypatch.setenv("NETRAX", "1")
    assert unknown_names() == ("NETRA_OPENAI_API_KEY", "NETRA_PROT")
    assert (variable("port"), variable("openai_api_key")) == ("NETRA_PORT", "OPENAI_API_KEY")


def test_names_in_dotenv_and_pyproject_that_are_no_setting_are_told_with_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("NETRA_RUN_PER_USER=7\nNETRA_PORT=8001\nOPENAI_API_KEY=k\nOTHER=1\n")
    (tmp_path / "pyproject.toml").write_text(
        '[tool.netra]\nrun_per_user = 7\nport = 1\nopenai_base_url = "http://a"\nNETRA_HOST = "localhost"\n'
    )
    assert unknown_names() == (
        "NETRA_RUN_PER_USER in .env",
        "NETRA_HOST in [tool.netra]",
        "run_per_user in [tool.netra]",
    )


@pytest.mark.parametrize(
    ("given", "path"),
    [("", ""), ("/", ""), ("/a", "/a"), ("/a/", "/a"), ("/a/b-c_d.e~1/", "/a/b-c_d.e~1")],
)
def test_a_root_path_has_a_slash_at_its_beginning_and_none_at_its_end(given: str, path: str) -> None:
    assert Settings.load(root_path=given).root_path == path


@pytest.mark.parametrize(
    "path", ["agents", "//", "//a", "/a//b", "/a?b", "/a#b", "/a b", "/a\n", "/a;b", "/a/../b", "/é", "/a%20b"]
)
def test_a_root_path_that_is_none_is_refused(path: str) -> None:
    sentence = refusal(root_path=path)
    assert sentence == (
        f"NETRA_ROOT_PATH: {path!r} is no path: write /agents, of letters, digits and . _ ~ - between slashes"
    )


@pytest.mark.parametrize("proxy", ["10.0.0.1", "10.0.0.0/24", "::1", "fd00::/8"])
def test_proxies_are_addresses_and_networks(proxy: str) -> None:
    assert Settings.load(trusted_proxies=proxy).trusted_proxies == (proxy,)


@pytest.mark.parametrize("proxy", ["foo", "*", "localhost", "10.0.0.1/24", "10.0.0.1:80", "[::1]", "10.0.0.1, foo"])
def test_a_proxy_that_is_no_address_or_network_is_refused(proxy: str) -> None:
    assert "is no IP address or network: write 10.0.0.7 or 10.0.0.0/24" in refusal(trusted_proxies=proxy)


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0"])
def test_not_everybody_is_trusted_as_a_proxy(everybody: str) -> None:
    assert f"NETRA_TRUSTED_PROXIES: {everybody!r} is every address" in refusal(trusted_proxies=everybody)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings.load().port = 1  # type: ignore[misc]


def test_no_secret_is_in_a_repr_a_text_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings.load(secret_key=SECRET, openai_api_key="sk-" + SECRET)
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()
    assert set(settings.own_secrets()) == {SECRET, "sk-" + SECRET}
    monkeypatch.setenv("NETRA_SECRET_KEY", "changeme-" + SECRET)
    with pytest.raises(ConfigurationError) as refused:
        Settings.load()
    assert SECRET not in str(refused.value) + repr(refused.value) + str(refused.value.__cause__) + repr(
        refused.value.__cause__
    )


def test_a_secret_is_made_once_kept_and_its_owners_alone(tmp_path: Path) -> None:
    settings = Settings.load(home=tmp_path / "home")
    secret = settings.prepare_home()
    assert len(secret) >= MIN_SECRET
    assert settings.prepare_home() == secret
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "home" / "secret").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["secret"]
    assert Settings.load(home=tmp_path / "other").prepare_home() != secret


def test_a_secret_that_is_set_is_used_and_none_is_made(tmp_path: Path) -> None:
    settings = Settings.load(home=tmp_path / "home", secret_key=SECRET)
    assert settings.prepare_home() == SECRET
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_a_kept_secret_that_is_none_is_refused_and_never_signed_with(tmp_path: Path, content: str) -> None:
    (tmp_path / "secret").write_text(content)
    with pytest.raises(ConfigurationError, match="secret"):
        Settings.load(home=tmp_path).prepare_home()


def test_threads_that_start_together_all_have_one_secret(tmp_path: Path) -> None:
    barrier = threading.Barrier(8)
    made: list[str] = []

    def work() -> None:
        settings = Settings.load(home=tmp_path / "home")
        barrier.wait(20)
        made.append(settings.prepare_home())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(made) == 8
    assert len(set(made)) == 1


MAKER = """
import sys
from netra_apex.settings import Settings
settings = Settings.load(home=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(settings.prepare_home(), flush=True)
"""


def test_processes_that_start_together_all_have_one_secret(tmp_path: Path) -> None:
    children = [
        subprocess.Popen(
            [sys.executable, "-c", MAKER, str(tmp_path / "home")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for child in children:
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
        for child in children:
            assert child.stdin
            child.stdin.write("go\n")
            child.stdin.flush()
        made = {child.communicate(timeout=30)[0] for child in children}
    finally:
        for child in children:
            child.kill()
            child.communicate()
    assert len(made) == 1
    assert made == {(tmp_path / "home" / "secret").read_text().strip() + "\n"}
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["secret"]


def test_a_tools_process_is_given_the_environment_without_what_is_the_servers_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    withheld = ("NETRA_SECRET_KEY", "netra_secret_key", "NETRA_DATABASE_URL", "OPENAI_API_KEY", "NETRA_HOST")
    for name in (*withheld, "SHOP_TOKEN", "NETRA_HOME", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "a value")
    given = environment_for_tools()
    assert not given.keys() & set(withheld)
    assert given.keys() >= {"SHOP_TOKEN", "NETRA_HOME", "ANTHROPIC_API_KEY", "PATH"}
    # No setting that is a secret is forgotten, whichever comes.
    secret = {variable(name) for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    assert secret == {"NETRA_SECRET_KEY", "OPENAI_API_KEY"}


def test_a_home_that_cannot_be_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"NETRA_HOME .*taken cannot be made a folder: File exists"):
        Settings(home=tmp_path / "taken").prepare_home()
