"""What an MCP server answers, as JSON, and without the credential that it was asked with."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

REDACTED = "[redacted]"


class Lost(Exception):
    """The connection is of no more use; what was under way on it may have been done or not."""


def plain(result: Any) -> Any:
    """The result of a call: what is structured in it, else its text. What is neither is named by its kind and size."""
    if result.structured_content is not None and not result.is_error:
        return result.structured_content
    return "\n".join(_block(each) for each in result.content)


def without(value: Any, secrets: Sequence[str]) -> Any:
    """The value without these, wherever a server has put them."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {without(key, secrets): without(each, secrets) for key, each in items}
    if isinstance(value, list):
        return [without(each, secrets) for each in cast("list[Any]", value)]
    return value


def _block(block: Any) -> str:
    match block.type:
        case "text":
            return block.text
        case "resource":
            resource = block.resource
            return getattr(resource, "text", None) or f"[{resource.uri}]"
        case "resource_link":
            return f"[{block.uri}]"
        case kind:
            return f"[{kind}: {block.mime_type}, {len(block.data)} characters of base64]"
