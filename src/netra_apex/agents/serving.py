"""`Service`: what a running `Runtime` offers to callers that have its registry alone."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal

from netra_apex.core.context import UserExecutionContext

Compat = Literal["off", "warn", "error"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """`for_user` gives an engine, as `ExecutionEngineFactory.for_user` does; `compat` is NETRA_COMPAT.

    `used` counts a use of a name of `netra_apex.compat`.
    """

    for_user: Callable[[UserExecutionContext], AbstractAsyncContextManager[Any]]
    compat: Compat
    used: Callable[[str], None]
