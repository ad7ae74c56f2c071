"""What we call: models and MCP servers. `open_model` is the one place that knows which class answers for which name."""

import logging
from collections.abc import Iterable

from netra_apex.core.ports import Credentials
from netra_apex.core.voices import Model
from netra_apex.errors import ConfigurationError
from netra_apex.providers.mcp_sessions import Limits, McpSessions
from netra_apex.settings import Settings, from_environment
from netra_apex.tools.mcp import MCPServer
from netra_apex.tools.mcp_file import catalogue, read_servers

OPENAI = "openai"
_INSTALL = 'pip install "netra-apex[providers]"; in a checkout: pip install -e ".[providers]"'
_IN_EXTRA = frozenset({"anthropic", "google", "groq", "mistral"})


def open_model(name: str | None, *, openai_api_key: str | None, openai_base_url: str) -> Model:
    """The model of that name; None is the offline demo model, and nothing else ever is.

    Each provider's module is imported when it is asked for: Pydantic AI alone takes a second and 80 MB.

    Raises:
        ConfigurationError: the name is not `provider:name`, there is no such provider, or its package is missing.
    """
    if name is None:
        from netra_apex.providers.demo import DemoModel

        return DemoModel()
    provider, _, model = name.partition(":")
    if not provider or not model:
        raise ConfigurationError(f"{name!r} is no model: write provider:name, such as openai:gpt-5")
    if provider == OPENAI:
        from netra_apex.providers.openai import OpenAIModel

        return OpenAIModel(name, api_key=openai_api_key, base_url=openai_base_url)
    try:
        from netra_apex.providers.pydantic_ai import PydanticAIModel
    except ImportError as error:
        # Which providers Pydantic AI has, only it could say.
        what = "needs" if provider in _IN_EXTRA else f"is misspelled (there is no provider {provider!r} here), or needs"
        raise ConfigurationError(f"{name} {what} Pydantic AI, which is not installed: {_INSTALL}") from error
    return PydanticAIModel(name)


def open_servers(declared: Iterable[MCPServer | str], settings: Settings, credentials: Credentials) -> McpSessions:
    """Who talks to these MCP servers, and to those of NETRA_MCP_SERVERS. Close it when the process stops.

    The package `mcp` is imported if there are any: it takes 0.7 s and 17 MB.

    Raises:
        ConfigurationError: the file is wrong, or a server is named that there is not.
    """
    filed = () if settings.mcp_servers is None else read_servers(settings.mcp_servers, from_environment)
    servers = catalogue(tuple(declared), filed)
    limits = Limits(
        per_user=settings.mcp_sessions_per_user,
        per_process=settings.mcp_sessions,
        idle_seconds=settings.mcp_idle_seconds,
    )

    if not servers:
        return McpSessions(servers, credentials, limits)
    from netra_apex.providers.mcp_oauth import authorize
    from netra_apex.providers.mcp_session import McpSession

    # It logs what servers send, which is their users' and may be a credential; what goes wrong is told by us.
    logging.getLogger("mcp").setLevel(logging.CRITICAL)
    return McpSessions(servers, credentials, limits, McpSession, authorize)
