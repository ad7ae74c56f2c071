"""Routes of questions that wait for their user's answer: `/api/questions`."""

from fastapi import APIRouter

from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.problems import responses
from netra_apex.server.shapes import AnswerBody, Listing, QuestionShape
from netra_apex.server.threads import Cursor, Limit

router = APIRouter(prefix="/api/questions", tags=["questions"], dependencies=SECURITY)


@router.get("", operation_id="list_questions", responses=responses(401, 422))
async def list_questions(
    principal: Caller, services: Running, limit: Limit = 50, cursor: Cursor = None
) -> Listing[QuestionShape]:
    """This user's questions that wait for an answer, the oldest first."""
    page = await services.runtime.stores.questions.pending(principal.user_id, limit=limit, cursor=cursor)
    return Listing[QuestionShape].of(page, QuestionShape.of)


@router.post("/{question_id}", operation_id="answer", responses=responses(401, 403, 404, 409, 413, 422))
async def answer(question_id: str, body: AnswerBody, principal: Caller, services: Running) -> QuestionShape:
    """Answers a question, once. Its run then goes on."""
    house, may = services.runtime.house, principal.permissions
    return QuestionShape.of(await house.answer(principal.user_id, question_id, body.content, may=may))
