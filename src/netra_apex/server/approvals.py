"""Routes of calls that wait for their user's word: `/api/approvals`."""

from fastapi import APIRouter

from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.problems import responses
from netra_apex.server.shapes import ApprovalShape, DecisionBody, Listing
from netra_apex.server.threads import Cursor, Limit

router = APIRouter(prefix="/api/approvals", tags=["approvals"], dependencies=SECURITY)


@router.get("", operation_id="list_approvals", responses=responses(401, 422))
async def list_approvals(
    principal: Caller, services: Running, limit: Limit = 50, cursor: Cursor = None
) -> Listing[ApprovalShape]:
    """This user's calls that wait for a decision, the oldest first."""
    approvals = services.runtime.stores.approvals
    page = await approvals.pending(principal.user_id, limit=limit, cursor=cursor)
    return Listing[ApprovalShape].of(page, ApprovalShape.of)


@router.post("/{approval_id}", operation_id="decide", responses=responses(401, 403, 404, 409, 413, 422))
async def decide(approval_id: str, body: DecisionBody, principal: Caller, services: Running) -> ApprovalShape:
    """Approves a call that waits, or rejects it: once. Its run then goes on."""
    house, may = services.runtime.house, principal.permissions
    decided = await house.decide(principal.user_id, approval_id, body.decision, body.note, may=may)
    return ApprovalShape.of(decided)
