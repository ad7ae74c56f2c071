"""The form of an answer that was asked for: what a model is told of a type, and the value in what it answered.

Providers want the schema of an object. Anything else (a list, a number, one of some words, one of some objects) is
asked for as the one field of an object, and taken out of it again.
"""

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from netra_apex.core.messages import Reply
from netra_apex.errors import OutputInvalid
from netra_apex.tools.validation import adapter_of, problem_of

FIELD = "answer"
# Many models put JSON into a block of Markdown, whatever they are told.
_FENCED = re.compile(r"\s*```[a-zA-Z]*[ \t]*\n(.*?)\s*```\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Form:
    """A type that an answer is to be of. `wrapper` is that of an object with such a value, where it is no object."""

    plain: TypeAdapter[Any]
    wrapper: TypeAdapter[Any] | None
    schema: dict[str, Any]

    def of(self, reply: Reply, model: str) -> Reply:
        """The reply with its output.

        Raises:
            OutputInvalid: it is not of this form.
        """
        fenced = _FENCED.fullmatch(reply.text)
        try:
            return replace(reply, output=self._value(reply.text if fenced is None else fenced[1]))
        except ValidationError as error:
            raise OutputInvalid(f"{problem_of(error)}.", model=model, text=reply.text) from error

    def _value(self, text: str) -> Any:
        if self.wrapper is None:
            return self.plain.validate_json(text)
        try:
            return self.wrapper.validate_json(text)[FIELD]
        except ValidationError:
            # Some answer with the bare value all the same.
            if text.lstrip().startswith(f'{{"{FIELD}"'):
                raise
            return self.plain.validate_json(text)


@lru_cache(maxsize=256)
def form_of(output_type: Any) -> Form:
    """The form of this type. Kept, by the type alone, which is code and no user's: making one costs milliseconds."""
    plain = adapter_of(output_type)
    schema = plain.json_schema()
    if schema.get("type") == "object":
        return Form(plain, None, schema)
    wrapper: TypeAdapter[Any] = TypeAdapter(TypedDict("Answer", {FIELD: output_type}))  # type: ignore[misc, operator]
    return Form(plain, wrapper, wrapper.json_schema())
