"""Routes of a login: `/api/auth/*`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from netra_apex.core.accounts import check_password, check_username
from netra_apex.errors import Forbidden, Unauthenticated
from netra_apex.server.auth import REFRESH_COOKIE, SESSION_COOKIE, cookie_of
from netra_apex.server.callers import SECURITY, Caller, Running, address_of, same_site
from netra_apex.server.problems import responses
from netra_apex.server.sessions import Grant
from netra_apex.server.setup import is_valid, redeem_setup_link
from netra_apex.server.shapes import CreatedUser, Credentials, FirstAdmin, TokenShape, UserShape

router = APIRouter(prefix="/api/auth", tags=["auth"])
ASKER = "setup"  # the one name under which failed set-up attempts of an address are counted


@router.post(
    "/login",
    operation_id="login",
    dependencies=[Depends(same_site)],
    responses=responses(401, 403, 413, 422, 429),
)
async def login(body: Credentials, request: Request, response: Response, services: Running) -> TokenShape:
    """Begins a login: an access token, a session cookie, and a refresh token in a cookie of its own."""
    grant = await services.sessions.login(body.username, body.password, address_of(request))
    return answer_of(grant, request, response)


@router.post(
    "/refresh",
    operation_id="refresh",
    dependencies=[Depends(same_site)],
    responses=responses(401, 403),
)
async def refresh(request: Request, response: Response, services: Running) -> TokenShape:
    """A new access token for the refresh cookie, which is replaced."""
    grant = await services.sessions.renew(cookie_of(request.headers.get("cookie"), REFRESH_COOKIE))
    return answer_of(grant, request, response)


@router.post("/logout", operation_id="logout", status_code=204, dependencies=SECURITY, responses=responses(401, 403))
async def logout(request: Request, response: Response, principal: Caller, services: Running) -> None:
    """Ends the login: its tokens and cookies are void and its sockets close."""
    await services.sessions.end(principal.session_id)
    _set(response, request, SESSION_COOKIE, "", 0)
    _set(response, request, REFRESH_COOKIE, "", 0)


@router.get("/me", operation_id="me", dependencies=SECURITY, responses=responses(401))
async def me(principal: Caller, services: Running) -> UserShape:
    """Who am I."""
    user = await services.runtime.stores.accounts.user(principal.user_id)
    if user is None:
        raise Unauthenticated("the login has ended: log in again")
    return UserShape.of(user)


@router.post(
    "/setup",
    operation_id="setup",
    status_code=201,
    dependencies=[Depends(same_site)],
    responses=responses(403, 413, 422, 429),
)
async def setup(body: FirstAdmin, address: Annotated[str, Depends(address_of)], services: Running) -> CreatedUser:
    """Makes the first admin; the token is the set-up link's, good once and for an hour."""
    services.sessions.throttle.check(address, ASKER)
    user_id, password = check_username(body.username), check_password(body.password)
    accounts = services.runtime.stores.accounts
    made = await is_valid(accounts, body.token) and await redeem_setup_link(
        accounts, body.token, user_id, await services.passwords.hash(password)
    )
    if not made:
        services.sessions.throttle.failed(address, ASKER)
        raise Forbidden("this set-up link is not valid: it was used, is over an hour old, or an admin exists already")
    user = await accounts.user(user_id)
    assert user is not None
    return CreatedUser(user=UserShape.of(user))


def answer_of(grant: Grant, request: Request, response: Response) -> TokenShape:
    """The answer to a login, with its cookies."""
    life = int((grant.session.expires_at - grant.now).total_seconds())
    if grant.cookie is not None:
        _set(response, request, SESSION_COOKIE, grant.cookie, life)
    if grant.refresh is not None:
        _set(response, request, REFRESH_COOKIE, grant.refresh, life)
    return TokenShape(access_token=grant.access_token, expires_in=grant.expires_in, user=UserShape.of(grant.user))


def _set(response: Response, request: Request, name: str, value: str, life: int) -> None:
    root = request.scope.get("root_path", "").rstrip("/")
    # The refresh token goes nowhere but to the routes that use it.
    path = f"{root}/api/auth" if name == REFRESH_COOKIE else root or "/"
    response.set_cookie(
        name,
        value,
        max_age=life,
        path=path,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict" if name == REFRESH_COOKIE else "lax",
    )
