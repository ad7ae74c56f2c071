"""`netra serve` on a Postgres database that is not there yet, or not as it should be."""

import contextlib
import queue
import re
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.postgres import Database, PostgresServer, sql
from tests.support.server import NETRA, environment, refused_start

SECONDS = 60


@pytest.fixture
def place(postgres: PostgresServer) -> Iterator[Database]:
    with postgres.database() as database:
        yield database


class Started:
    """A `netra serve` whose lines are waited for, those of its log and those that it prints alike."""

    def __init__(self, folder: Path, url: str) -> None:
        self.process = subprocess.Popen(
            [NETRA, "serve"],
            env=environment(home=folder / "home", port=0, database_url=url, drain_seconds=1),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def line(self, pattern: str) -> re.Match[str]:
        """The next line in which this is."""
        while (line := self._lines.get(timeout=SECONDS)) is not None:
            self.said.append(line)
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"it ended without {pattern}: {self.said}")

    def ended(self, seconds: float = SECONDS) -> int:
        """Its exit code."""
        code = self.process.wait(seconds)
        self._reader.join(SECONDS)
        while (line := self._lines.get(timeout=SECONDS)) is not None:
            self.said.append(line)
        return code


@contextlib.contextmanager
def started(folder: Path, url: str) -> Iterator[Started]:
    server = Started(folder, url)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(SECONDS)
        server._reader.join(SECONDS)
        assert server.process.stdout is not None
        server.process.stdout.close()


def test_a_server_that_starts_before_its_database_waits_for_it_and_then_serves(
    place: Database, postgres: PostgresServer, tmp_path: Path
) -> None:
    postgres.stop()
    with started(tmp_path, place.url) as server:
        where = f"{place.role}@127.0.0.1:{postgres.port}/{place.name}"
        for seconds in ("0.5", "1"):
            found = server.line(r"the database (\S+) cannot be reached: (.+?); trying again in ([\d.]+) s")
            assert (found[1], found[3]) == (where, seconds)
            assert "111" in found[2]  # its number: event loops word it differently
        assert not any("Netra Apex is at" in line for line in server.said)
        postgres.start()
        url = server.line(r"Netra Apex is at (http://\S+)")[1]
        with urllib.request.urlopen(f"{url}/readyz", timeout=SECONDS) as answer:
            assert answer.status == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == 0
        assert place.url.partition("@")[0].rpartition(":")[2] not in "".join(server.said)
    assert sql(place.url, "select count(*) from schema_migrations")[0][0] > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_waits_for_its_database_ends_promptly_when_it_is_told_to(
    place: Database, postgres: PostgresServer, tmp_path: Path, number: signal.Signals
) -> None:
    postgres.stop()
    with started(tmp_path, place.url) as server:
        server.line(r"trying again in 4 s")  # so long that an end within three is not the next look
        server.process.send_signal(number)
        assert server.ended(3) == 0
        assert "Traceback" not in "".join(server.said)
        assert '"stopped"' in server.said[-1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda url: url.replace("_owner:", "_owner:x"), "refused: password authentication failed for user"),
        (lambda url: f"{url}x", "does not exist"),
        (lambda url: f"{url}?sslmode=perhaps", "`sslmode` parameter must be one of"),
        (lambda url: f"{url}?search_path=nonesuch", "run netra db upgrade --admin-url URL"),
    ],
)
def test_a_server_that_its_database_refuses_ends_at_once_with_a_sentence(
    place: Database, tmp_path: Path, change: Any, sentence: str
) -> None:
    code, out, err = refused_start(tmp_path, database_url=change(place.url))
    assert (code, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1
    assert place.url.partition("@")[0].rpartition(":")[2] not in err


def test_a_schema_of_a_newer_version_that_took_something_away_ends_the_start(place: Database, tmp_path: Path) -> None:
    netra = [NETRA, "db", "upgrade"]
    env = environment(home=tmp_path / "home", database_url=place.url)
    subprocess.run(netra, env=env, cwd=tmp_path, timeout=SECONDS, check=True, capture_output=True)
    sql(place.url, "insert into schema_migrations (version, phase, name) values (999, 'contract', 'gone')")
    code, _, err = refused_start(tmp_path / "there", database_url=place.url)
    assert code == 2
    assert "has schema 999, made by a newer version" in err
