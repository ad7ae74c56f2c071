"""`Wrapped`: what an agent class holds of another framework, in a place that is known to be looked after."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, eq=False, slots=True)
class Wrapped(Generic[T]):
    """An object of another framework that an adapter has examined, and of which each run takes a copy.

    Why: what such an object is made of cannot be known to be unchangeable, so the registry would refuse it. Only an
    adapter makes one, and it is the adapter that keeps runs apart.
    """

    original: T
