"""OAuth where an MCP server asks for it: the flow is `mcp`'s own, and what a user was granted is kept by us."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import msgspec
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthMetadata,
    OAuthToken,
)

from netra_apex.core.ids import new_id
from netra_apex.errors import Unavailable
from netra_apex.providers.mcp_authorizing import Answer
from netra_apex.providers.mcp_credentials import Grant
from netra_apex.tools.mcp import MCPServer


class UserGrant(OAuthClientProvider):
    """A user's grant, which signs his requests and renews itself; each change of it is given to `keep`.

    It is also its own storage. A process that begins with a grant from the database knows when its tokens expire, and
    where they are renewed: `mcp` itself remembers neither.
    """

    def __init__(
        self,
        server: MCPServer,
        grant: Grant,
        keep: Callable[[Grant], Awaitable[None]],
        redirected: Callable[[str], Awaitable[None]],
        answered: Callable[[], Awaitable[Answer]],
    ) -> None:
        self.grant = grant
        self._keep = keep
        self._answered = answered
        metadata = OAuthClientMetadata.model_validate(
            {
                "client_name": "Netra Apex",
                "redirect_uris": [grant.redirect],
                "grant_types": ["authorization_code", "refresh_token"],
                "response_types": ["code"],
            }
        )
        super().__init__(str(server.url), metadata, self, redirected, self._answer)

    async def get_tokens(self) -> OAuthToken | None:
        """Those that were granted."""
        return None if self.grant.tokens is None else OAuthToken.model_validate(self.grant.tokens)

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keeps those that were granted now, with all that is needed to renew them."""
        context = self.context
        self.grant = msgspec.structs.replace(
            self.grant,
            tokens=tokens.model_dump(mode="json", exclude_none=True),
            expires_at=None if tokens.expires_in is None else time.time() + tokens.expires_in,
            issuer=context.auth_server_url,
            metadata=_plain(context.oauth_metadata),
        )
        await self._keep(self.grant)

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """As whom this application is registered there, for this user."""
        return None if self.grant.client is None else OAuthClientInformationFull.model_validate(self.grant.client)

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Remembers it; it is kept with the tokens."""
        self.grant = msgspec.structs.replace(self.grant, client=_plain(client_info))

    async def _initialize(self) -> None:
        await super()._initialize()
        context, grant = self.context, self.grant
        context.token_expiry_time = grant.expires_at
        context.auth_server_url = grant.issuer
        context.oauth_metadata = None if grant.metadata is None else OAuthMetadata.model_validate(grant.metadata)

    async def _answer(self) -> AuthorizationCodeResult:
        code, state, issuer = await self._answered()
        return AuthorizationCodeResult(code=code, state=state, iss=issuer)


async def authorize(
    server: MCPServer,
    redirect: str,
    redirected: Callable[[str], Awaitable[None]],
    answered: Callable[[], Awaitable[Answer]],
) -> Grant:
    """Has a user authorise this application with a server: he is `redirected`, and comes back with what was `answered`.

    Raises:
        Unavailable: the server asks for no authorisation.
        Exception: whatever goes wrong in the flow.
    """

    async def nowhere(_: Grant) -> None:
        """It is kept once it is whole."""

    grant = UserGrant(server, Grant(id=new_id("grt"), redirect=redirect), nowhere, redirected, answered)
    asked: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}
    headers = {"Accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient(auth=grant, headers=headers, timeout=30.0) as http:
        await http.post(str(server.url), json=asked)
    if grant.grant.tokens is None:
        raise Unavailable(f"{server.name} asks for no authorisation")
    return grant.grant


def _plain(model: Any) -> dict[str, Any] | None:
    return None if model is None else model.model_dump(mode="json", exclude_none=True)
