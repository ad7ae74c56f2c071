"""Cause 9: a cache whose key does not say whose it is."""

import functools

from netra_apex import AgentRegistry, ChatAgent, tool

SAVED: dict[str, str] = {}


@functools.cache
def profile_of(kind: str) -> str:
    return SAVED["latest"]


@tool
def my_profile(about: str) -> str:
    """What is known of the user."""
    SAVED.setdefault("latest", about)
    return profile_of("profile")


class Assistant(ChatAgent):
    name = "assistant"
    tools = (my_profile,)


registry = AgentRegistry([Assistant])
