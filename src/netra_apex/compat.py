"""The door for old callers: names of the product that came before, for the time of a migration.

Behind `NETRA_COMPAT`: with `off`, the default, importing this raises; with `warn` each use works, warns and counts
(`netra_compat_uses_total` at `/metrics`); with `error` each use raises and counts. `netra migrate` moves the calls to
`UserExecutionEngine.from_registry`; once the count stays at zero, turn it off.
"""

import warnings

from netra_apex.agents import AgentRegistry
from netra_apex.core.context import UserExecutionContext
from netra_apex.engine.engine import LateEngine
from netra_apex.errors import ConfigurationError
from netra_apex.settings import Settings

__all__ = ["ExecutionEngine"]

INSTEAD = "use UserExecutionEngine.from_registry(registry, websocket_bridge, user_context)"

if Settings.load().compat == "off":
    raise ImportError(
        "netra_apex.compat is off; NETRA_COMPAT=warn turns it on for a migration, and netra_apex.UserExecutionEngine"
        " needs nothing turned on",
        name=__name__,
    )


class ExecutionEngine(LateEngine):
    """The old engine's name and constructor: an engine of the running `Runtime`, of one user.

    Deprecated: `UserExecutionEngine.from_registry(registry, websocket_bridge, user_context)` is the same.
    `websocket_bridge` is not used there, either.

    Raises:
        InvalidContext: there is no user's context. None is ever made up.
        ConfigurationError: no `Runtime` of this process runs these agents, or more than one does; or `NETRA_COMPAT`
            is `error`, or off in the settings of that runtime.
    """

    def __init__(
        self,
        registry: AgentRegistry,
        websocket_bridge: object,
        user_context: UserExecutionContext | None = None,
    ) -> None:
        del websocket_bridge
        service = registry.service
        service.used("ExecutionEngine")
        if service.compat != "warn":
            raise ConfigurationError(f"NETRA_COMPAT={service.compat} refuses ExecutionEngine: {INSTEAD}")
        warnings.warn(
            f"ExecutionEngine(registry, websocket_bridge, user_context) is deprecated: {INSTEAD}",
            DeprecationWarning,
            stacklevel=2,
        )
        super().__init__(service.for_user, user_context)
