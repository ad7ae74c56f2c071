"""`netra serve` as a process: what it prints."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.unit.cli.command import NETRA, SECONDS, environment


@pytest.mark.parametrize(("root_path", "path"), [("/", ""), ("/agents/", "/agents")])
def test_the_set_up_link_has_the_root_path_with_one_slash(root_path: str, path: str, tmp_path: Path) -> None:
    env = environment(tmp_path / "home", NETRA_ROOT_PATH=root_path, NETRA_ALLOWED_ORIGINS="https://example.org")
    server = subprocess.Popen(
        [NETRA, "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env=env,
        text=True,
    )
    try:
        assert server.stdout
        link = next(line for line in server.stdout if "/setup#" in line)
    finally:
        server.terminate()
        server.communicate(timeout=SECONDS)
    assert re.fullmatch(rf"Make the first administrator: https://example\.org{path}/setup#\S+\n", link)
