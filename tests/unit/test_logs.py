import io
import json
import logging

import pytest
import structlog

from netra_apex import logs


@pytest.fixture
def lines():
    """Configures logging into a text, and puts back what was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.StringIO()
    logs.configure(lambda line: line.replace("top-secret", "***"), stream=out)
    yield lambda: [json.loads(line) for line in out.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    logs.use_standard_logging()


def test_both_kinds_of_logger_write_one_kind_of_line(lines):
    structlog.get_logger("ours").info("started", port=8000)
    logging.getLogger("theirs").warning("slow by %s s", 3)
    ours, theirs = lines()
    assert (ours["event"], ours["port"], ours["level"], ours["logger"]) == ("started", 8000, "info", "ours")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("slow by 3 s", "warning", "theirs")
    assert ours["timestamp"].endswith("Z")


def test_uvicorn_is_heard_only_when_it_warns(lines):
    logging.getLogger("uvicorn.error").info("Started server process")
    logging.getLogger("uvicorn.error").warning("trouble")
    assert [line["event"] for line in lines()] == ["trouble"]


def test_a_known_secret_is_blotted_out_wherever_it_turns_up(lines):
    try:
        raise ValueError("the key top-secret is wrong")
    except ValueError:
        structlog.get_logger().exception("failed", key="top-secret")
    (line,) = lines()
    assert "top-secret" not in json.dumps(line)
    assert line["key"] == "***"
    assert "ValueError" in line["exception"]
