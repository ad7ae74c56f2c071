"""What a tool gave, as what can be told: JSON for the event, text for the model, both within the limit."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
from pydantic import ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import PydanticSerializationError, to_jsonable_python

from netra_apex.core.redaction import Redactor
from netra_apex.errors import CallFailed
from netra_apex.tools.schema import returned_type
from netra_apex.tools.validation import adapter_of

BESIDE = 16 * 1024  # of a result that is cut, so much more is looked through for secrets: the cut may be in one

_ENCODER = msgspec.json.Encoder()
_NOT_JSON = (PydanticSerializationError, ValueError, TypeError, OverflowError, RecursionError)


@dataclass(frozen=True, slots=True)
class Told:
    """A result as JSON for the event, and as text for the model; `whole` is the JSON of all of it."""

    value: Any
    text: str
    whole: Any = field(default=None, compare=False)


def tell(value: Any, limit: int, redactor: Redactor) -> Told:
    """A tool's return value, with what is beyond `limit` bytes cut off, visibly.

    A result that is cut is a text, whatever it was before.

    Raises:
        CallFailed: `error`, the value is no JSON.
    """
    try:
        plain, encoded = as_json(value)
    except CallFailed as error:
        raise CallFailed(error.code, cut(error.message, limit, redactor)) from error.__cause__
    if isinstance(plain, str):
        text = cut(plain, limit, redactor)
        return Told(text, text, plain)
    if len(encoded) <= limit:
        return Told(plain, encoded.decode(), plain)
    # As text its keys say nothing any more, so what they mark as secret goes first.
    beginning, left = _beginning(plain, limit + 2 * BESIDE)
    shown = _ENCODER.encode(redactor.value(beginning))
    text = _shortened(shown, limit, redactor, len(shown) if left > 0 else len(encoded))
    return Told(text, text, plain)


def as_json(value: Any) -> tuple[Any, bytes]:
    """A tool's return value as what JSON holds, and as JSON.

    Raises:
        CallFailed: `error`, the value is no JSON.
    """
    if isinstance(value, str):
        # Half a surrogate pair is no text; alone it becomes "?".
        plain = value if value.isascii() else value.encode("utf-8", "replace").decode()
        return plain, _ENCODER.encode(plain)
    if inspect.isgenerator(value):
        raise CallFailed("error", "the tool returned a generator, which is no JSON; return a list")
    try:
        plain = to_jsonable_python(value, inf_nan_mode="null", fallback=_from_struct)
        return plain, _ENCODER.encode(plain)
    except _NOT_JSON as error:
        reason = f"the tool returned a {type(value).__name__} that is no JSON: {error}"
        raise CallFailed("error", reason) from error


def as_returned(function: Callable[..., Any], value: Any) -> Any:
    """The JSON that a function's value became, as what the function says that it returns."""
    returned = returned_type(function)
    try:
        if isinstance(returned, type) and issubclass(cast("type[Any]", returned), msgspec.Struct):
            return msgspec.convert(value, cast("type[msgspec.Struct]", returned))
        return value if returned is Any else adapter_of(returned).validate_json(msgspec.json.encode(value))
    except (ValidationError, msgspec.ValidationError, PydanticUserError):
        return value  # the function did not keep to its annotation either


def cut(text: str, limit: int, redactor: Redactor) -> str:
    """`text`, or as much of its beginning as fits into `limit` bytes of UTF-8 with the note that says so."""
    encoded = text.encode("utf-8", "replace")  # half a surrogate pair cannot be sent, and becomes "?"
    if len(encoded) <= limit:
        return text if text.isascii() else encoded.decode()
    return _shortened(encoded, limit, redactor, len(encoded))


def tellable(arguments: Mapping[str, Any]) -> Any:
    """Arguments that code has passed, as JSON for the event; what is no JSON is told by its type."""
    try:
        return _shown(arguments)
    except _NOT_JSON:
        return {name: f"<{type(value).__name__}>" for name, value in arguments.items()}


def can_be_shown(arguments: Mapping[str, Any]) -> bool:
    """Whether `tellable` tells all of them, so that a person knows what he says yes to."""
    try:
        _shown(arguments)
    except _NOT_JSON:
        return False
    return True


def _shown(arguments: Mapping[str, Any]) -> Any:
    plain = to_jsonable_python(_in_order(arguments), inf_nan_mode="null", fallback=_from_struct)
    _ENCODER.encode(plain)
    return plain


def _in_order(value: Any) -> Any:
    """Sets as lists in one order, which is the same in every process: what is told of a call is what it is known by."""
    if isinstance(value, Mapping):
        return {key: _in_order(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if type(value) in (list, tuple):
        return [_in_order(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_in_order(item) for item in cast("set[Any]", value)), key=repr)
    return value


def _from_struct(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _shortened(encoded: bytes, limit: int, redactor: Redactor, size: int) -> str:
    """As much of the beginning of so many bytes as is told; no more of them is looked through than may be shown."""
    beginning = encoded[: limit + BESIDE]
    # What is told is redacted later, as a whole; half a secret would not be known for one.
    told = redactor.text(beginning.decode("utf-8", "ignore")).encode()
    if len(beginning) == size:
        size = len(told)
        if size <= limit:
            return told.decode()
    else:
        told = told[: max(len(told) - BESIDE, 0)]  # a secret that goes on after it shows no half of itself either
    room = max(limit - len(_note(size, size).encode()), 0)
    kept = told[:room].decode("utf-8", "ignore")
    return kept + _note(len(kept.encode()), size)


def _beginning(value: Any, room: int) -> tuple[Any, int]:
    """A JSON value as far as so many characters show it, and how many are left: none where it does not end."""
    if isinstance(value, str):
        return value[: max(room, 0)], room - len(value)
    if isinstance(value, dict):
        table: dict[str, Any] = {}
        for key, item in cast("dict[str, Any]", value).items():
            if room <= 0:
                break
            table[key], room = _beginning(item, room - len(key))
        return table, room
    if isinstance(value, list):
        items: list[Any] = []
        for item in cast("list[Any]", value):
            if room <= 0:
                break
            kept, room = _beginning(item, room - 1)
            items.append(kept)
        return items, room
    return value, room - 1


def _note(kept: int, size: int) -> str:
    return f"… [cut: {kept} of {size} bytes]"
