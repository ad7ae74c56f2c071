"""Isolated tools of the tests, in a module that a process without any test may import."""

import asyncio
import ctypes
import dataclasses
import datetime
import enum
import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from pydantic import BaseModel, SecretStr

from netra_apex.errors import CallFailed
from netra_apex.tools import tool

seen: list[str] = []
held: dict[int, int] = {}
SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(600)"]


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


class Order(BaseModel):
    number: int
    price: Decimal
    day: datetime.date
    size: Size = Size.SMALL


@dataclasses.dataclass(frozen=True)
class Pair:
    left: str
    right: Order


class Row(msgspec.Struct):
    name: str
    of: set[int]


def note(path: str, *pids: int) -> None:
    """Whole or not at all, as the reader looks at any time."""
    made = Path(f"{path}.part")
    made.write_text(" ".join(map(str, pids)))
    made.rename(path)


@tool(isolated=True)
def add(a: int, b: int = 2) -> int:
    return a + b


@tool(isolated=True)
async def later(text: str) -> str:
    await asyncio.sleep(0)
    return text.upper()


def hiding(function: Callable[..., Awaitable[str]]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(text: str) -> Any:
        return function(text)

    return wrapper


@tool(isolated=True)
@hiding
async def hidden(text: str) -> str:
    await asyncio.sleep(0)
    return f"hidden {text}"


@tool(isolated=True)
def reprice(order: Order, by: Decimal) -> Order:
    assert isinstance(order, Order)
    return order.model_copy(update={"price": order.price * by, "size": Size.LARGE})


@tool(isolated=True)
def pair(order: Order, raw: bytes, secret: SecretStr) -> Pair:
    return Pair(f"{len(raw)} {secret.get_secret_value()}", order)


@tool(isolated=True)
def row(name: str) -> Row:
    return Row(name, {1, 2})


@tool(isolated=True)
def gives(what: str) -> Any:
    values: dict[str, Callable[[], Any]] = {
        "half a pair": lambda: "half \ud800",
        "nan": lambda: float("nan"),
        "an object": object,
        "nothing": lambda: None,
    }
    return values[what]()


@tool(isolated=True)
def text_of(size: int) -> str:
    return "x" * size


@tool(isolated=True)
def fails(how: str) -> None:
    if how == "exit":
        sys.exit(3)
    if how == "large":
        raise ValueError("x" * 100_000)
    if how == "raises":
        raise ValueError("no such order")
    raise CallFailed(how, "the order is already paid")


@tool(isolated=True)
def dies(how: str) -> None:
    print("about to die", flush=True)
    if how == "exit":
        os._exit(7)
    if how == "lets go":
        os.closerange(3, 100)
        os._exit(0)
    if how == "real-time":
        os.kill(os.getpid(), signal.SIGRTMIN + 2)
    ctypes.string_at(0)


@tool(isolated=True)
def who() -> dict[str, int]:
    return {"pid": os.getpid(), "session": os.getsid(0), "parent": os.getppid()}


@tool(isolated=True)
def remembers(what: str) -> list[str]:
    seen.append(what)
    held[len(seen)] = os.getpid()
    os.environ["WHOSE"] = os.environ.get("WHOSE", "") + what
    return [*seen, os.environ["WHOSE"]]


@tool(isolated=True)
def surroundings() -> dict[str, Any]:
    descriptors = {}
    for entry in Path("/proc/self/fd").iterdir():
        try:
            descriptors[entry.name] = str(entry.readlink())
        except FileNotFoundError:
            continue  # that of the listing itself
    return {
        "environment": dict(os.environ),
        "at its start": Path("/proc/self/environ").read_bytes().decode(),
        "its parent's": Path(f"/proc/{os.getppid()}/environ").read_bytes().decode(),
        "descriptors": descriptors,
    }


def _forever(path: str, how: str) -> None:
    note(path, os.getpid())
    if how == "computing":
        while True:
            pass
    if how == "holding the interpreter":
        re.match(r"(a+)+$", "a" * 64 + "b")
    if how == "refusing":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
    time.sleep(600)


@tool(isolated=True)
def forever(path: str, how: str) -> None:
    _forever(path, how)


@tool(isolated=True, timeout=1.5)
def briefly(path: str, how: str) -> None:
    _forever(path, how)


@tool(isolated=True)
async def waits(path: str) -> None:
    note(path, os.getpid())
    await asyncio.Event().wait()


@tool(isolated=True)
def until_there(path: str, release: str) -> str:
    note(path, os.getpid())
    while not Path(release).exists():
        time.sleep(0.005)
    return path


@tool(isolated=True)
def with_others(path: str, *, stays: bool) -> str:
    """Starts a process in its group, one in a session of its own, and one that nobody is the parent of."""
    plain = subprocess.Popen(SLEEP)
    apart = subprocess.Popen(SLEEP, start_new_session=True)
    read, write = os.pipe()
    if not os.fork():
        os.setsid()
        if not os.fork():
            lost = os.fork()
            if lost:
                os.write(write, f"{os.getpid()} {lost}".encode())
            time.sleep(600)
        os._exit(0)
    os.wait()
    note(path, os.getpid(), plain.pid, apart.pid, *map(int, os.read(read, 100).split()))
    if stays:
        time.sleep(600)
    return "done"


@tool(isolated=True)
def grows(how: str) -> int:
    taken: list[Any] = []
    if how == "at once":
        taken.append(bytearray(1 << 34))
    while True:
        taken.append([None] * 100)


@tool(isolated=True)
def takes(size: int) -> int:
    return len(bytearray(size))


@tool(isolated=True)
def cheats(how: str) -> str:
    """Writes what is no reply into the socket that its reply is to go through."""
    (descriptor,) = [number for number in range(3, 50) if Path(f"/proc/self/fd/{number}").is_socket()]
    if how == "garbage":
        os.write(descriptor, (12).to_bytes(8, "big") + b"\xc1" * 12)
    if how == "a size and nothing":
        os.write(descriptor, (1000).to_bytes(8, "big") + b"\x00")
        os._exit(0)
    if how == "a pickle":
        os.write(descriptor, (4).to_bytes(8, "big") + b"\x80\x04N.")
    while how == "without end":
        os.write(descriptor, b"\xff" * 65_536)
    time.sleep(600)
    return "never"
