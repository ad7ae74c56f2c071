"""What a person has used of models today, and what is left of the budgets."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field

from netra_apex.core.budgets import Account, amount, dollars
from netra_apex.server.callers import SECURITY, Caller, Running
from netra_apex.server.problems import responses
from netra_apex.server.shapes import Instant
from netra_apex.settings import Settings

router = APIRouter(prefix="/api/me", tags=["usage"], dependencies=SECURITY)

Tokens = Annotated[int, Field(ge=0)]
Dollars = Annotated[float, Field(ge=0)]


class UsedShape(BaseModel):
    """What was used. The cost is of what has a known price; null where nothing has one."""

    input_tokens: Tokens
    output_tokens: Tokens
    requests: Tokens
    cost_usd: Dollars | None


class LimitsShape(BaseModel):
    """The budgets of one user; null is none."""

    tokens_per_day: Tokens | None
    cost_usd_per_day: Dollars | None
    tokens_per_run: Tokens | None
    cost_usd_per_run: Dollars | None


class LeftShape(BaseModel):
    """What is left of the day's budgets, without what is reserved; null where there is none."""

    tokens: Tokens | None
    cost_usd: Dollars | None


class ReservedShape(BaseModel):
    """What is set aside for model requests that are under way."""

    tokens: Tokens
    cost_usd: Dollars


class UsageShape(BaseModel):
    """A user's day, by its date in UTC."""

    day: str
    used: UsedShape
    limits: LimitsShape
    left: LeftShape
    reserved: ReservedShape
    renews_at: Instant

    @classmethod
    def of(cls, account: Account, settings: Settings) -> Self:
        """From the book, and the limits that are set."""
        taken = amount(account.used) + account.reserved
        tokens, cost = settings.user_tokens_per_day, settings.user_cost_usd_per_day
        return cls(
            day=account.day,
            used=UsedShape(
                input_tokens=account.used.input_tokens,
                output_tokens=account.used.output_tokens,
                requests=account.used.requests,
                cost_usd=account.used.cost_usd,
            ),
            limits=LimitsShape(
                tokens_per_day=tokens,
                cost_usd_per_day=cost,
                tokens_per_run=settings.run_tokens,
                cost_usd_per_run=settings.run_cost_usd,
            ),
            left=LeftShape(
                tokens=None if tokens is None else max(0, tokens - taken.tokens),
                cost_usd=None if cost is None else max(0.0, cost - dollars(taken.cost)),
            ),
            reserved=ReservedShape(tokens=account.reserved.tokens, cost_usd=dollars(account.reserved.cost)),
            renews_at=datetime.fromisoformat(account.renews_at),
        )


@router.get("/usage", operation_id="usage", responses=responses(401))
async def usage(principal: Caller, services: Running) -> UsageShape:
    """What you have used today, and what is left of your budget. A run counts when it ends, or sooner."""
    runtime = services.runtime
    return UsageShape.of(await runtime.stores.budgets.account(principal.user_id), runtime.settings)
