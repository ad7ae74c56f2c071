"""Calls that wait for a person's answer (port: `core.ports.Questions`); `ApprovalStore.park` has their runs wait."""

from typing import Any

from netra_apex.core.conversations import Page, Question
from netra_apex.errors import AlreadyDecided, NotFound
from netra_apex.stores.approvals import check_may
from netra_apex.stores.database import Database, Row, Transaction
from netra_apex.stores.rows import EARLIEST, from_ms, may_be_id, now_ms, page_of, read_cursor
from netra_apex.stores.statements import statements

SQL = statements("questions")
RUN = statements("approvals")


class QuestionStore:
    """See `core.ports.Questions`, which this is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def pending(self, user_id: str, *, limit: int = 50, cursor: str | None = None) -> Page[Question]:
        """Those that may be answered now, the oldest first.

        Raises:
            Invalid: the cursor is none of ours.
        """
        after, after_id = EARLIEST if cursor is None else read_cursor(cursor)
        values = {"user_id": user_id, "now": now_ms(), "after": after, "after_id": after_id, "limit": limit + 1}
        rows = await self._database.read(lambda tx: tx.all(SQL["open"], values), user=user_id)
        return page_of(rows, limit, lambda row: _question(row[:-1]), lambda row: (row[-1], row[0]))

    async def answer(
        self, user_id: str, question_id: str, content: str, *, may: frozenset[str] | None = None
    ) -> Question:
        """Answers, once; a run that waits has its turn again.

        Raises:
            NotFound: the user has no such question.
            Forbidden: the run has a permission that is not in `may`.
            AlreadyDecided: it was answered before, has expired, or its run has ended.
        """
        if not may_be_id(question_id):
            raise NotFound("question", question_id)
        values: dict[str, Any] = {"user_id": user_id, "question_id": question_id, "content": content, "now": now_ms()}

        async def job(tx: Transaction) -> Row:
            row = await tx.one(SQL["question"], values)
            if row is None:
                raise NotFound("question", question_id)
            run = values | {"run_id": row[1]}
            # The run's row is held first, by who parks it too: of the two the second sees what the first did.
            if not await tx.run(RUN["hold"], run):
                raise AlreadyDecided("the run that asked has ended")
            if may is not None:
                await check_may(tx, run, may)
            if not await tx.run(SQL["answer"], values):
                raise AlreadyDecided("this was answered before, or its time is over")
            await tx.run(RUN["wake"], run)
            return row

        return _question(await self._database.write(job, user=user_id, alone=True))


def _question(row: Row) -> Question:
    question_id, run_id, thread_id, call_id, text, asked_at, expires_at = row
    return Question(
        question_id=question_id,
        run_id=run_id,
        thread_id=thread_id,
        call_id=call_id,
        text=text,
        asked_at=from_ms(asked_at),
        expires_at=from_ms(expires_at),
    )
