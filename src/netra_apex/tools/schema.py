"""From a function's signature to what a model is told of it, and to the check of what the model then sends.

Everything that costs time (hints, JSON Schema, validator) is made once, when the tool is defined; a call only runs the
finished validator. The fields stand in a `TypedDict`, not in a model class: a parameter may then bear any name
(`schema`, `copy`, `_page`), and one that is left out keeps the function's own default, which need not be JSON.
"""

import inspect
import types
import typing
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from dataclasses import dataclass, is_dataclass
from dataclasses import fields as fields_of
from functools import lru_cache
from typing import Annotated, Any, NotRequired, Required, cast, get_args, get_origin

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, to_jsonable_python
from typing_extensions import TypedDict  # pydantic refuses the standard library's before Python 3.12

from netra_apex.core.context import UserExecutionContext
from netra_apex.core.scope import RunScope
from netra_apex.errors import CallFailed, ToolDefinitionError

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# A read-only mapping is one of them, as what it shows may be changed by who made it.
_CONTAINERS = (MutableSequence, MutableMapping, MutableSet, bytearray, deque, array, types.MappingProxyType)
_SHOWN_PROBLEMS = 5
_SHOWN_NAME = 40


class _Untitled(GenerateJsonSchema):
    """Without the titles that pydantic derives from field names: they tell a model nothing and cost tokens."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


@dataclass(frozen=True, eq=False, slots=True)
class Signature:
    """What may be passed to a tool, and the name of the parameter that receives the call's `RunScope`, if any."""

    scope: str | None
    _schema: bytes
    _validator: TypeAdapter[dict[str, Any]]
    _positions: inspect.Signature

    @property
    def parameters(self) -> dict[str, Any]:
        """The JSON Schema, each time a copy: what is done to it cannot change the definition."""
        return msgspec.json.decode(self._schema)

    def from_json(self, text: str) -> dict[str, Any]:
        """The keyword arguments that a model's JSON stands for, strictly: "5" is no integer, a number is no string.

        Raises:
            CallFailed: `invalid_arguments`, with a sentence that names each field that is wrong.
        """
        try:
            return self._validator.validate_json(text, strict=True)
        except ValidationError as error:
            raise CallFailed("invalid_arguments", _sentence(error)) from None

    def from_values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments from an agent's own values, with pydantic's usual conversions.

        Raises:
            CallFailed: `invalid_arguments`, with a sentence that names each field that is wrong.
        """
        try:
            return self._validator.validate_python(values)
        except ValidationError as error:
            raise CallFailed("invalid_arguments", _sentence(error)) from None

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Names what code has passed by position. The scope cannot be passed: it is given.

        Raises:
            CallFailed: `invalid_arguments`, in the words of Python's own `TypeError`.
        """
        try:
            return dict(self._positions.bind(*args, **kwargs).arguments)
        except TypeError as error:
            raise CallFailed("invalid_arguments", str(error)) from None


class _OpenSignature(Signature):
    """Takes any name: what a server calls its parameters need be no Python name."""

    __slots__ = ()

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        if args:
            raise CallFailed("invalid_arguments", "its arguments are passed by name")
        return dict(kwargs)


def read_signature(function: Callable[..., Any]) -> Signature:
    """The signature of a function that is to be a tool.

    Raises:
        ToolDefinitionError: a parameter that a model cannot fill, named.
    """
    name = function.__name__
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        _check_form(name, parameter)
    hints = _hints(name, function, signature)
    fields: dict[str, Any] = {}
    scope: str | None = None
    for parameter in signature.parameters.values():
        hint = hints[parameter.name]
        if not _is_scope(hint):
            required = parameter.default is inspect.Parameter.empty
            fields[parameter.name] = Required[hint] if required else NotRequired[hint]
        elif scope is None:
            scope = parameter.name
        else:
            raise ToolDefinitionError(name, f"{scope} and {parameter.name} both ask for the RunScope")
    shown = [parameter for parameter in signature.parameters.values() if parameter.name != scope]
    validator, schema = _compile(name, fields)
    _add_defaults(schema, shown)
    return Signature(scope, msgspec.json.encode(schema), validator, signature.replace(parameters=shown))


def signature_of_type(name: str, type_: Any, *, into: str, scope: str) -> Signature:
    """The signature of a tool whose arguments are the fields of a type, which it receives whole as one parameter.

    Raises:
        ToolDefinitionError: the type has no JSON Schema, or is no object with fields.
    """

    def whole(value: Any) -> dict[str, Any]:
        return {into: value}

    try:
        # Any, as the type is known at run time only.
        annotated: Any = Annotated[type_, AfterValidator(whole)]  # pyright: ignore[reportInvalidTypeForm]
        validator = TypeAdapter[dict[str, Any]](annotated)
        schema = validator.json_schema(schema_generator=_Untitled)
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise ToolDefinitionError(name, f"it has no JSON Schema: {error.message.splitlines()[0]}") from error
    if schema.get("type") != "object" or "properties" not in schema:
        raise ToolDefinitionError(name, f"{type_} has no fields that a model could fill in")
    for key in ("title", "description"):
        schema.pop(key, None)
    schema.setdefault("required", [])
    try:
        fields = [
            inspect.Parameter(each, inspect.Parameter.KEYWORD_ONLY, default=None) for each in schema["properties"]
        ]
    except ValueError as error:
        raise ToolDefinitionError(name, f"a field of {type_} has no Python name: {error}") from error
    return Signature(scope, msgspec.json.encode(schema), validator, inspect.Signature(fields))


def open_signature(schema: Mapping[str, Any], *, into: str, scope: str | None = None) -> Signature:
    """The signature of a tool whose arguments somebody else checks: an object, received whole as one parameter."""
    return _OpenSignature(scope, msgspec.json.encode(schema), _open_validator(into), inspect.Signature())


@lru_cache(maxsize=8)
def _open_validator(into: str) -> TypeAdapter[dict[str, Any]]:
    def whole(value: dict[str, Any]) -> dict[str, Any]:
        return {into: value}

    return TypeAdapter[dict[str, Any]](Annotated[dict[str, Any], AfterValidator(whole)])


def returned_type(function: Callable[..., Any]) -> Any:
    """What a tool's function says that it returns; `Any` where it says nothing that can be read."""
    written = inspect.signature(function).return_annotation
    if written is inspect.Signature.empty:
        return Any
    holder = types.SimpleNamespace(__annotations__={"return": written})
    try:
        globals_ = getattr(inspect.unwrap(function), "__globals__", {})
        return typing.get_type_hints(holder, globals_, include_extras=True)["return"]
    except (NameError, AttributeError, SyntaxError, TypeError):
        return Any


def _hints(name: str, function: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    written = {key: value.annotation for key, value in signature.parameters.items()}
    globals_ = getattr(inspect.unwrap(function), "__globals__", {})
    # RunScope is often imported for the type checker alone; its name still means what it says.
    known = {} if "RunScope" in globals_ else {"RunScope": RunScope}
    # A bare holder of the hints, so that the return type, which nobody asks for here, need not be importable.
    holder = types.SimpleNamespace(__annotations__=written)
    try:
        return typing.get_type_hints(holder, globals_, known, include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        raise ToolDefinitionError(name, f"a type in its signature cannot be read: {error}") from error


def _check_form(name: str, parameter: inspect.Parameter) -> None:
    if parameter.kind not in _NAMED:
        kind = parameter.kind.description
        raise ToolDefinitionError(name, f"parameter {parameter.name} is {kind}; a model passes arguments by name")
    if parameter.annotation is inspect.Parameter.empty:
        raise ToolDefinitionError(name, f"parameter {parameter.name} has no type")
    if isinstance(parameter.default, FieldInfo):
        reason = f"parameter {parameter.name} has Field(...) as its default; write Annotated[..., Field(...)]"
        raise ToolDefinitionError(name, reason)
    changing = _changing(parameter.default)
    if changing is not None:
        reason = f"parameter {parameter.name} has a {changing} in its default, which every user's calls would share"
        raise ToolDefinitionError(
            name, f"{reason}; write None and make the {changing} inside, or Annotated[..., Field(default_factory=...)]"
        )


def _changing(default: object) -> str | None:
    """The type of what could change in a default; Python makes a default once, so all calls would see the change."""
    if isinstance(default, tuple | frozenset):
        return next(filter(None, map(_changing, cast("Iterable[object]", default))), None)
    changes = isinstance(default, _CONTAINERS)
    held: Iterable[object] = ()
    if isinstance(default, BaseModel):
        changes = not default.model_config.get("frozen")
        held = vars(default).values()
    elif isinstance(default, msgspec.Struct):
        changes = not default.__struct_config__.frozen
        held = [getattr(default, field) for field in default.__struct_fields__]
    elif is_dataclass(default) and not isinstance(default, type):
        changes = not cast("Any", default).__dataclass_params__.frozen
        held = [getattr(default, field.name, None) for field in fields_of(default)]
    return type(default).__name__ if changes else next(filter(None, map(_changing, held)), None)


def _is_scope(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return _is_scope(get_args(hint)[0])
    if get_origin(hint) in (typing.Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        return len(options) == 1 and _is_scope(options[0])
    return isinstance(hint, type) and issubclass(hint, RunScope)


def _compile(name: str, fields: dict[str, Any]) -> tuple[TypeAdapter[dict[str, Any]], dict[str, Any]]:
    """The validator and JSON Schema of all fields; where that fails, each is tried alone to name the one at fault."""
    try:
        validator, schema = _adapt(name, fields)
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        for field, hint in fields.items():
            try:
                _adapt(name, {field: hint})
            except (PydanticUserError, PydanticUndefinedAnnotation) as alone:
                reason = f"parameter {field} has no JSON Schema: {alone.message.splitlines()[0]}"
                raise ToolDefinitionError(name, reason) from alone
        raise ToolDefinitionError(name, f"it has no JSON Schema: {error.message.splitlines()[0]}") from error
    if any(part.endswith(UserExecutionContext.__name__) for part in schema.get("$defs", {})):
        # A model that fills in an identity could fill in another user's.
        raise ToolDefinitionError(name, "a model may not pass an identity; ask for a RunScope and read its context")
    return validator, schema


def _adapt(name: str, fields: dict[str, Any]) -> tuple[TypeAdapter[dict[str, Any]], dict[str, Any]]:
    # Any, as its fields are known at run time only.
    arguments: Any = TypedDict(name, fields)  # type: ignore[misc]
    arguments.__pydantic_config__ = ConfigDict(extra="forbid")
    validator = TypeAdapter[dict[str, Any]](arguments)
    schema = validator.json_schema(schema_generator=_Untitled)
    for key in ("title", "description"):
        schema.pop(key, None)
    schema.setdefault("properties", {})
    schema.setdefault("required", [])
    return validator, schema


def _add_defaults(schema: dict[str, Any], parameters: Sequence[inspect.Parameter]) -> None:
    properties = cast("dict[str, dict[str, Any]]", schema["properties"])
    for parameter in parameters:
        field = properties[parameter.name]
        # Beside a `$ref` some providers refuse any other key.
        if parameter.default is inspect.Parameter.empty or "$ref" in field:
            continue
        try:
            field.setdefault("default", to_jsonable_python(parameter.default, inf_nan_mode="null"))
        except (PydanticSerializationError, ValueError):
            continue  # a default that is not JSON is the function's own matter


def _sentence(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    sentences = [_problem(problem["type"], problem["loc"], problem["msg"]) for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        sentences.append(f"and {len(problems) - _SHOWN_PROBLEMS} more")
    return "; ".join(sentences)


def _problem(kind: str, location: tuple[int | str, ...], message: str) -> str:
    path = ".".join(str(part)[:_SHOWN_NAME] for part in location)
    if kind == "missing":
        return f"{path} is missing"
    if kind == "extra_forbidden":
        return f"{path} is not a parameter"
    if not path:
        return message
    if message.startswith("Input should "):
        return f"{path} should {message.removeprefix('Input should ')}"
    return f"{path}: {message}"
