"""The deployment files fit their formats, and this version's settings, commands, ports and limits."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import crossplane
import kubernetes_validate
import pytest
import yaml
from typer.main import get_command

from netra_apex import Settings
from netra_apex.cli import app
from netra_apex.server.app import ROOMS
from netra_apex.settings import variable

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
BIN = Path(sys.executable).parent
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
FILES = [
    DEPLOY / "Dockerfile",
    DEPLOY / "compose.yaml",
    DEPLOY / "settings.env.example",
    DEPLOY / "systemd/netra.service",
    DEPLOY / "nginx.conf",
    DEPLOY / "Caddyfile",
    *MANIFESTS,
]
DEFAULTS = Settings.model_construct()
AFTER_DRAIN = 10  # seconds: goodbyes, last answers, and a database that is gone


def text(name: str) -> str:
    return (DEPLOY / name).read_text()


def resources() -> list[dict[str, Any]]:
    return [each for path in MANIFESTS for each in yaml.safe_load_all(path.read_text())]


def pods() -> dict[str, dict[str, Any]]:
    """The pods of each kind, by the first word of what their container does."""
    found = [each["spec"]["template"]["spec"] for each in resources() if each["kind"] in ("Deployment", "Job")]
    return {(pod["containers"][0].get("args") or ["upgrade"])[0]: pod for pod in found}


def compose() -> dict[str, Any]:
    return yaml.safe_load(text("compose.yaml"))


def lint(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def paths() -> set[str]:
    return {route.path for room in ROOMS for route in room.router.routes}


def seconds(value: str) -> int:
    return int(value.removesuffix("s"))


def test_the_dockerfile_is_as_its_linter_wants_it():
    lint(BIN / "hadolint", "--failure-threshold", "style", "--no-color", DEPLOY / "Dockerfile")


def test_the_compose_file_is_one():
    lint(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_as_its_kind_wants_it(path):
    for each in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(each, "1.37.0", strict=True)


def test_nginx_can_read_its_file(tmp_path):
    whole = tmp_path / "nginx.conf"
    whole.write_text("events {}\nhttp {\n" + text("nginx.conf") + "}\n")
    errors = [each["error"] for each in crossplane.parse(str(whole), strict=True, comments=False)["errors"]]
    # What the parser does not know yet: a map's own words, and a directive of nginx 1.25.
    unknown = {found[1] for error in errors if (found := re.match('unknown directive "(.*?)" in', error))}
    assert (unknown, len(errors)) == ({"default", "", "http2"}, 3), errors


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_can_read_its_unit(tmp_path):
    unit = tmp_path / "netra.service"
    # With a program and a user that this machine has.
    unit.write_text(text("systemd/netra.service").replace("/opt/netra/bin/netra", sys.executable))
    lint("systemd-analyze", "verify", "--man=no", unit)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_setting_that_is_named_exists(path):
    known = {variable(name) for name in Settings.model_fields}
    assert set(re.findall(r"\bNETRA_[A-Z_]+", path.read_text())) <= known


def test_every_command_exists_and_takes_its_options():
    asked = [["serve"], *[(each.get("command") or []) for each in compose()["services"].values()]]
    asked += [pod["containers"][0].get("args") or [] for pod in pods().values()]
    for path in FILES:
        found = re.findall(r"(?:^|[\s'\"/])netra (serve|worker|db [^<\"]+)", path.read_text())
        asked += [line.split() for line in found]
    commands = get_command(app).commands
    for words in filter(None, asked):
        command, rest = commands[words[0]], words[1:]
        while hasattr(command, "commands") and rest:
            command, rest = command.commands[rest[0]], rest[1:]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= options, words


def test_images_have_a_version_and_no_registry():
    named = re.findall(r"^FROM (\S+)", text("Dockerfile"), re.MULTILINE)
    named += [each["image"] for each in compose()["services"].values()]
    named += [pod["containers"][0]["image"] for pod in pods().values()]
    for image in named:
        assert re.fullmatch(r"[a-z-]+:\d[\w.-]*", image), image
    version = re.search(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert {image for image in named if image.startswith("netra")} == {f"netra-apex:{version[1]}"}


def test_what_the_image_copies_is_let_in_and_there():
    let_in = {line[1:] for line in text("Dockerfile.dockerignore").splitlines() if line.startswith("!")}
    for line in re.findall(r"^COPY (?!--from)(.+)", text("Dockerfile"), re.MULTILINE):
        for source in line.split()[:-1]:
            assert source.split("/")[0] in let_in, source
            assert (ROOT / source).exists(), source


def test_nobody_is_root_and_everybody_the_same():
    uid = int(re.search(r"^USER (\d+):", text("Dockerfile"), re.MULTILINE)[1])
    assert uid > 0
    for pod in pods().values():
        assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, uid)
        own = pod["containers"][0]["securityContext"]
        assert (own["allowPrivilegeEscalation"], own["readOnlyRootFilesystem"]) == (False, True)
        assert own["capabilities"] == {"drop": ["ALL"]}
    for name in ("server", "worker"):
        assert f"uid={uid}" in compose()["services"][name]["tmpfs"][1]


def test_ports_and_paths_are_the_server_s():
    port = DEFAULTS.port
    assert re.search(r"^EXPOSE (\d+)", text("Dockerfile"), re.MULTILINE)[1] == str(port)
    assert f"http://127.0.0.1:{port}/healthz" in text("Dockerfile")
    assert compose()["services"]["server"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"server 127.0.0.1:{port};" in text("nginx.conf")
    assert f"reverse_proxy 127.0.0.1:{port} " in text("Caddyfile")
    container = pods()["serve"]["containers"][0]
    assert container["ports"] == [{"name": "http", "containerPort": port}]
    probes = {container[each]["httpGet"]["path"] for each in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes <= paths()
    assert "/metrics" in paths()


def test_everybody_waits_longer_than_a_drain_takes():
    settings = next(each for each in resources() if each["kind"] == "ConfigMap")["data"]
    drain = float(settings["NETRA_DRAIN_SECONDS"])
    for pod in (pods()["serve"], pods()["worker"]):
        stop = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert pod["terminationGracePeriodSeconds"] >= stop + drain + AFTER_DRAIN
    least = DEFAULTS.drain_seconds + AFTER_DRAIN
    for name in ("server", "worker"):
        assert seconds(compose()["services"][name]["stop_grace_period"]) >= least
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str
    unit.read_string(text("systemd/netra.service"))
    assert int(unit["Service"]["TimeoutStopSec"]) >= least
    assert unit["Service"]["ExecStart"].split()[1:] == ["serve", "/etc/netra/app.py"]


def test_services_find_their_pods():
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in resources() if each["kind"] == "Deployment"]
    for each in resources():
        if each["kind"] == "Service":
            assert each["spec"]["selector"] in labels
        if each["kind"] in ("Deployment", "PodDisruptionBudget"):
            assert each["spec"]["selector"]["matchLabels"] in labels


def test_proxies_outlast_a_heartbeat_and_take_an_upload():
    size = int(re.search(r"client_max_body_size (\d+)m;", text("nginx.conf"))[1])
    assert size * 1024**2 > DEFAULTS.upload_bytes
    assert int(re.search(r"max_size (\d+)MiB", text("Caddyfile"))[1]) * 1024**2 > DEFAULTS.upload_bytes
    for name in ("proxy_read_timeout", "proxy_send_timeout"):
        assert int(re.search(rf"{name} (\d+)s;", text("nginx.conf"))[1]) > 2 * DEFAULTS.heartbeat_seconds
