"""What an MCP server answers, as JSON, and without the credential that it was asked with."""

from collections.abc import Mapping
from typing import Any, cast

REDACTED = "[redacted]"


class Lost(Exception):
    """The connection is of no more use; what was under way on it may have been done or not."""


def plain(result: Any) -> Any:
    """The result of a call: what is structured in it, else its text. What is neither is named by its kind and size."""
    if result.structured_content is not None and not result.is_error:
        return result.structured_content
    return "\n".join(_block(each) for each in result.content)


def without(value: Any, credential: str | None) -> Any:
    """The value without the credential, wherever a server has put it."""
    if credential is None:
        return value
    if isinstance(value, str):
        return value.replace(credential, REDACTED)
    if isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return {without(key, credential): without(each, credential) for key, each in items}
    if isinstance(value, list):
        return [without(each, credential) for each in cast("list[Any]", value)]
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
