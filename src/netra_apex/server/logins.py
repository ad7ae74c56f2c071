"""Routes of a user's own logins and password: `/api/me/sessions`, `/api/me/password`."""

from typing import Self

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from netra_apex.core.accounts import Session, check_password
from netra_apex.errors import NotFound
from netra_apex.server.accounts import answer_of
from netra_apex.server.callers import SECURITY, Caller, Running, address_of
from netra_apex.server.keys import with_login
from netra_apex.server.problems import responses
from netra_apex.server.shapes import Instant, Listing, Password, RequestBody, TokenShape

router = APIRouter(prefix="/api/me", tags=["auth"], dependencies=SECURITY)


class LoginShape(BaseModel):
    """A login that lasts. `renewed_at` is when it last got an access token for its refresh token."""

    session_id: str
    created_at: Instant
    renewed_at: Instant
    expires_at: Instant
    current: bool

    @classmethod
    def of(cls, session: Session, current: str) -> Self:
        """From a stored login; `current` is the id of the one that asks."""
        return cls(
            session_id=session.session_id,
            created_at=session.created_at,
            renewed_at=session.rotated_at,
            expires_at=session.expires_at,
            current=session.session_id == current,
        )


class NewPassword(RequestBody):
    """The password that is, and the one that is to be."""

    current_password: Password
    new_password: Password


@router.get("/sessions", operation_id="list_sessions", responses=responses(401, 403))
async def list_sessions(principal: Caller, services: Running) -> Listing[LoginShape]:
    """Where this user is logged in, the latest first."""
    sessions = await services.runtime.stores.accounts.sessions_of(with_login(principal).user_id)
    items = [LoginShape.of(session, principal.session_id) for session in sessions]
    return Listing[LoginShape](items=items, next_cursor=None)


@router.delete(
    "/sessions/{session_id}", operation_id="end_session", status_code=204, responses=responses(401, 403, 404, 422)
)
async def end_session(session_id: str, principal: Caller, services: Running) -> None:
    """Ends one of the user's logins: its tokens and cookies are void and its sockets close."""
    if not await services.runtime.stores.accounts.end_session_of(with_login(principal).user_id, session_id):
        raise NotFound("session", session_id)
    services.runtime.manager.close_session(session_id)


@router.post("/password", operation_id="change_password", responses=responses(401, 403, 413, 422, 429))
async def change_password(
    body: NewPassword, request: Request, response: Response, principal: Caller, services: Running
) -> TokenShape:
    """Sets a new password. All of the user's logins end; the answer is a new one. Keys stay."""
    user_id, new = with_login(principal).user_id, check_password(body.new_password)
    grant = await services.sessions.change_password(user_id, body.current_password, new, address_of(request))
    return answer_of(grant, request, response)
