"""What a route asks for before it does anything: the running services, and who calls."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import APIKeyCookie, HTTPBearer

from netra_apex.errors import Forbidden, Unauthenticated
from netra_apex.server.auth import SESSION_COOKIE, Authenticator, Principal, bearer_of
from netra_apex.server.lifecycle import Lifecycle
from netra_apex.server.services import Services

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# Only for the OpenAPI document: `caller` reads both itself, in the contract's order.
SECURITY = [
    Depends(
        HTTPBearer(auto_error=False, scheme_name="bearer", description="The access token of a login, or an API key")
    ),
    Depends(APIKeyCookie(name=SESSION_COOKIE, auto_error=False, scheme_name="cookie")),
]


async def running(request: Request) -> Services:
    """The services, which the first request starts where nothing else has."""
    lifecycle: Lifecycle = request.app.state.lifecycle
    return await lifecycle.services()


Running = Annotated[Services, Depends(running)]


def check_origin(authenticator: Authenticator, request: Request, *, ambient: bool) -> None:
    """Refuses what another site's page makes a browser send.

    `ambient`: the credential is one that browsers attach by themselves.

    Raises:
        Forbidden: the `Origin` is not allowed, or is missing where the browser says that another site asks.
    """
    if request.method in SAFE_METHODS:
        return
    origin = request.headers.get("origin")
    if origin is not None:
        if not authenticator.origin_allowed(origin, request.headers.get("host"), request.url.scheme):
            raise Forbidden("this origin is not allowed: set NETRA_ALLOWED_ORIGINS to serve its pages")
    elif ambient and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise Forbidden("a request from another site is not allowed")


async def caller(request: Request, services: Running) -> Principal:
    """Who calls: by bearer token, else by cookie.

    Raises:
        Unauthenticated: there is no credential, or it is not valid; a bad token never falls back to the cookie.
        Forbidden: the page's origin is not allowed.
    """
    authenticator = services.authenticator
    token = bearer_of(request.headers.get("authorization"))
    check_origin(authenticator, request, ambient=token is None)
    if token is not None:
        return await authenticator.by_token(token)
    principal = await authenticator.by_cookie(request.headers.get("cookie"))
    if principal is None:
        raise Unauthenticated("log in first: there is neither a bearer token nor a session cookie")
    return principal


Caller = Annotated[Principal, Depends(caller)]


async def same_site(request: Request, services: Running) -> None:
    """For routes that begin or renew a login: an `Origin` that is there must be allowed."""
    check_origin(services.authenticator, request, ambient=True)


def address_of(request: Request) -> str:
    """The caller's address, as the trusted proxies tell it; what cannot be known counts as one address."""
    return request.client.host if request.client is not None else "unknown"
