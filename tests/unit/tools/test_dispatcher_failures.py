"""A call that fails, takes too long or gives too much is an answer, and harms nobody else."""

import asyncio
import contextlib
import threading
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator
from structlog.testing import capture_logs
from tests.unit.tools.support import bench, hosting, run

from netra_apex.core.redaction import Redactor
from netra_apex.errors import CallFailed
from netra_apex.tools import tool


@tool
async def echo(text: str) -> str:
    return f"echo {text}"


@tool
async def secretive(text: str) -> str:
    raise LookupError(f"no {text}")


class OddError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (ValueError("no such order"), "error", "ValueError: no such order"),
        (TimeoutError("upstream"), "error", "TimeoutError: upstream"),
        (CallFailed("error", "the order is already paid"), "error", "the order is already paid"),
        (CallFailed("rejected", "by the clerk"), "rejected", "by the clerk"),
        (CallFailed("invented", "a code of its own"), "error", "a code of its own"),
        (SystemExit(3), "error", "SystemExit: 3"),
        (KeyboardInterrupt(), "error", "KeyboardInterrupt"),
        (asyncio.CancelledError(), "error", "CancelledError"),
        (BaseExceptionGroup("many", [SystemExit(1)]), "error", "BaseExceptionGroup: many (1 sub-exception)"),
        (OddError(), "error", "OddError: <exception str() failed>"),
        (ValueError("\ud800" * 3), "error", "ValueError: ???"),
    ],
)
def test_what_a_function_raises_is_an_answer(raised: BaseException, code: str, message: str) -> None:
    @tool
    async def fails() -> str:
        raise raised

    @tool
    def fails_in_a_thread() -> str:
        raise raised

    async def main() -> None:
        made = bench(fails, fails_in_a_thread, echo)
        answers = await made.ask(("fails", "{}"), ("fails_in_a_thread", "{}"), ("echo", '{"text":"a"}'))
        assert answers == [f"Error ({code}): {message}"] * 2 + ["echo a"]
        assert sorted(made.recorder.codes()) == sorted([code, code, "ok"])
        with pytest.raises(CallFailed, match=r".") as caught:
            await made.dispatcher.call(fails)
        assert (caught.value.code, caught.value.message) == (code, message)

    with capture_logs():
        run(main())


def test_an_unexpected_exception_is_logged_with_ids_and_without_arguments() -> None:
    async def main() -> None:
        made = bench(secretive)
        with capture_logs() as logs:
            await made.ask(("secretive", '{"text":"sk-canary0123456789012345"}'))
        (entry,) = logs
        (told,) = made.recorder.executing()
        assert (entry["call_id"], entry["user_id"], entry["run_id"]) == (told.call_id, "ada", made.context.run_id)
        assert "secretive" in entry["traceback"]
        assert "canary" not in str(entry)
        with capture_logs() as logs:
            await made.ask(("echo", "{}"))
        assert not logs

    run(main())


def test_an_applications_validator_that_fails_is_the_calls_failure() -> None:
    def explode(value: str) -> str:
        raise KeyError(value)

    @tool
    async def checked(text: Annotated[str, AfterValidator(explode)]) -> str: ...

    async def main() -> None:
        with capture_logs():
            assert await bench(checked).ask(("checked", '{"text":"a"}')) == ["Error (error): KeyError: 'a'"]

    run(main())


def test_a_result_that_is_no_json_is_an_error() -> None:
    @tool
    async def odd() -> Any:
        return object()

    async def main() -> None:
        made = bench(odd)
        assert (await made.ask(("odd", "{}")))[0].startswith(
            "Error (error): the tool returned a object that is no JSON"
        )
        assert made.recorder.codes() == ["error"]

    run(main())


def test_a_large_result_is_cut_for_the_model_and_the_event_alike() -> None:
    @tool
    async def much() -> str:
        return "ü" * 500

    @tool
    async def fails_at_length() -> str:
        raise ValueError("x" * 10_000)

    async def main() -> None:
        async with hosting(result_bytes=101) as host:
            made = bench(much, fails_at_length, host=host)
            with capture_logs():
                answers = await made.ask(("much", "{}"), ("fails_at_length", "{}"))
            assert answers[0] == "ü" * 36 + "… [cut: 72 of 1000 bytes]"
            assert {event.result for event in made.recorder.completed() if event.ok} == {answers[0]}
            assert len(answers[1]) < 150
            assert await made.dispatcher.call(much) == "ü" * 500

    run(main())


def test_a_call_that_takes_too_long_is_a_timeout_and_its_thread_keeps_its_slot() -> None:
    release = threading.Event()

    @tool(timeout=0.02)
    async def hangs() -> None:
        await asyncio.Event().wait()

    @tool(timeout=0.02)
    async def swallows() -> str:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return "completed after all"

    @tool(timeout=0.02)
    def blocks() -> bool:
        return release.wait()

    @tool
    async def hangs_by_default() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with hosting(timeout_seconds=0.03) as host:
            made = bench(hangs, swallows, blocks, hangs_by_default, host=host)
            names = ("hangs", "swallows", "blocks", "hangs_by_default")
            answers = await made.ask(*[(name, "{}") for name in names])
            assert answers == [
                *(f"Error (timeout): {name} took longer than 0.02 s" for name in names[:3]),
                "Error (timeout): hangs_by_default took longer than 0.03 s",
            ]
            assert made.recorder.codes() == ["timeout"] * 4
            assert host.threads.running == 1
            release.set()

    try:
        run(main())
    finally:
        release.set()


def test_waiting_for_a_thread_counts_as_time_of_the_call() -> None:
    release = threading.Event()

    @tool(timeout=0.02)
    def blocks() -> bool:
        return release.wait()

    async def main() -> None:
        made = bench(blocks)
        assert len(await made.ask(*[("blocks", "{}")] * 17)) == 17
        assert made.recorder.codes() == ["timeout"] * 17
        release.set()

    try:
        run(main())
    finally:
        release.set()


def test_secrets_in_what_is_cut_are_redacted_first() -> None:
    secret = "configured-secret-value-1234567890"

    @tool
    async def leaks() -> str:
        return "x" * 90 + secret + "y" * 200

    async def main() -> None:
        async with hosting(result_bytes=150, redactor=Redactor([secret])) as host:
            (answer,) = await bench(leaks, host=host).ask(("leaks", "{}"))
            assert "configured" not in answer

    run(main())
