"""The agent card of A2A 1.0: what this server is, and its agents as skills."""

from importlib.metadata import version

from a2a.types import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    APIKeySecurityScheme,
    HTTPAuthSecurityScheme,
    SecurityRequirement,
    SecurityScheme,
    StringList,
)
from a2a.utils.constants import PROTOCOL_VERSION_1_0

from netra_apex.agents import AgentRegistry
from netra_apex.server.auth import SESSION_COOKIE

PREFIX = "/api/a2a"
_TEXT = "text/plain"
_JSON = "application/json"


def card(registry: AgentRegistry, base: str, permissions: frozenset[str] = frozenset()) -> AgentCard:
    """The card for somebody with these permissions, of a server at `base`.

    Without any it is what everybody may see: agents that need a permission are not in it.
    """
    url = base.rstrip("/") + PREFIX
    skills = [
        AgentSkill(
            id=name,
            name=name,
            description=description or f"The agent {name}",
            tags=["default"] if name == registry.default else ["agent"],
        )
        for name, description in registry.describe(permissions)
    ]
    return AgentCard(
        name="Netra Apex",
        description="Agents that work for the user who logs in. A message's metadata.agent names the skill.",
        version=version("netra-apex"),
        supported_interfaces=[
            AgentInterface(url=url, protocol_binding=binding, protocol_version=PROTOCOL_VERSION_1_0)
            for binding in ("JSONRPC", "HTTP+JSON")
        ],
        capabilities=AgentCapabilities(streaming=True, push_notifications=False, extended_agent_card=True),
        security_schemes={
            "bearer": SecurityScheme(
                http_auth_security_scheme=HTTPAuthSecurityScheme(
                    scheme="bearer", description="The access token of a login, POST /api/auth/login, or an API key"
                )
            ),
            "cookie": SecurityScheme(
                api_key_security_scheme=APIKeySecurityScheme(location="cookie", name=SESSION_COOKIE)
            ),
        },
        security_requirements=[
            SecurityRequirement(schemes={"bearer": StringList()}),
            SecurityRequirement(schemes={"cookie": StringList()}),
        ],
        default_input_modes=[_TEXT, _JSON],
        default_output_modes=[_TEXT, _JSON],
        skills=skills,
    )
