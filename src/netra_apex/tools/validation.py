"""Values of any type that pydantic knows: what validates them, and what is wrong with one as a sentence."""

from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError


# Keyed by the type alone, which is code and no user's: making one costs milliseconds.
@lru_cache(maxsize=1024)
def adapter_of(kind: Any) -> TypeAdapter[Any]:
    """What validates values of this type."""
    return TypeAdapter(kind)


def problem_of(error: ValidationError) -> str:
    """The first thing that is wrong, with where."""
    first = error.errors(include_url=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return f"{where}: {first['msg']}" if where else first["msg"]
