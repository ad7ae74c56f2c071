"""The lines of a file, read slice by slice."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.bounded import run

from netra_apex.tools import files
from netra_apex.tools.files import CUT, MOST_CHARACTERS, lines_in

MANY = 24 * 2**20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@given(
    text=st.text(st.sampled_from("ab\n\r\u00fc\U0001f600"), max_size=30),
    start=st.integers(1, 8),
    lines=st.integers(1, 8),
    size=st.integers(1, 5),
)
def test_lines_are_those_of_the_text_wherever_it_is_sliced(
    encoding: str, text: str, start: int, lines: int, size: int
) -> None:
    # What splits a text into lines has other marks too, which no editor counts.
    all_lines = text.splitlines()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(files, "SLICE_BYTES", size)
        found = lines_in(text.encode(encoding), start, lines)
    assert found == ("\n".join(all_lines[start - 1 : start - 1 + lines]), len(all_lines))


@pytest.mark.parametrize("data", [b"\xff", b"a\x00b", b"a" * files.SLICE_BYTES + b"\xff", b"\xff\xfea"])
def test_what_is_no_text_has_no_lines(data: bytes) -> None:
    assert lines_in(data, 1, 1) is None


def test_of_a_long_line_the_beginning_is_read() -> None:
    assert lines_in(b"x" * (MOST_CHARACTERS + 10), 1, 1) == ("x" * MOST_CHARACTERS + CUT, 1)


@pytest.mark.parametrize("data", [b"\n" * MANY, b"ab\n" * (MANY // 3), b"x" * MANY], ids=["blank", "short", "long"])
def test_nobody_else_waits_while_the_lines_of_a_large_file_are_read(data: bytes) -> None:
    async def main() -> float:
        reading = asyncio.create_task(asyncio.to_thread(lines_in, data, 1, 200))
        longest = 0.0
        while not reading.done():
            before = time.perf_counter()
            await asyncio.sleep(0)
            longest = max(longest, time.perf_counter() - before)
        return longest

    assert run(main()) < 0.25
