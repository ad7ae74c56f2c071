"""What was reserved and used, and what is left of budgets (port: `core.budgets.Book`). The owner is in every WHERE.

What people use is theirs, and stands under row-level security. What everybody's day comes to must not be known from
their rows, and so is kept beside them, in parts that name nobody: whoever reserves adds them up and leaves one, whoever
settles adds another. So nothing that settles waits for anybody else.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, timedelta
from typing import Any

from netra_apex.core.budgets import (
    Account,
    Amount,
    Bill,
    Charge,
    Excess,
    Limits,
    Reservation,
    Scope,
    dollars,
    excess,
    nano,
)
from netra_apex.core.ids import new_id
from netra_apex.core.messages import NO_USAGE, Usage
from netra_apex.errors import TakenOver
from netra_apex.stores.database import Database, Row, Transaction
from netra_apex.stores.rows import from_ms, now_ms
from netra_apex.stores.statements import statements

SQL = statements("budgets")
RUNS = statements("runs")
EVERYBODY = "everybody's day"  # the name of its lock


class BudgetStore:
    """See `core.budgets.Book`, which this is. `clock` gives milliseconds since 1970."""

    def __init__(self, database: Database, clock: Callable[[], int] = now_ms) -> None:
        self._database = database
        self._clock = clock

    async def reserve(self, wanted: Reservation, limits: Limits) -> Excess | None:
        """Reserves, under the user's lock; the budget that does not suffice where it may not.

        Raises:
            TakenOver: the run is another process's by now, or has ended.
            StoreError: nothing was reserved.
        """
        now = self._clock()
        day = day_of(now)
        values = figures_of(wanted.usage) | {
            "user_id": wanted.user_id,
            "run_id": wanted.run_id,
            "step": wanted.key,
            "epoch": wanted.epoch,
            "day": day,
            "shared": int(bool(limits.day)),
        }

        async def job(tx: Transaction) -> Excess | None:
            await tx.lock(wanted.user_id)
            stands = await tx.one(RUNS["stands"], values)
            if stands is None or stands[1] is not None or stands[2] != wanted.epoch:
                raise TakenOver(f"run {wanted.run_id} has ended, or was taken up by another process")
            used, before = await _standing(tx, values), Amount()
            if limits.day:
                used["day"], before = await _everybodys(tx, values)
            found = excess(limits, used, wanted.amount, renews_at=renewal(now))
            if limits.day:
                await _add_part(tx, day, used["day"] + (wanted.amount if found is None else before))
            if found is None:
                await tx.run(SQL["reserve"], values)
            return found

        # Asked a second time it finds what it has written by its key, and counts it once.
        return await self._database.write(job, user=wanted.user_id, alone=True, repeatable=True)

    async def account(self, user_id: str) -> Account:
        """How the user stands today."""
        now = self._clock()
        values = {"user_id": user_id, "day": day_of(now)}

        async def job(tx: Transaction) -> tuple[Row | None, list[Row]]:
            return await tx.one(SQL["used"], values), await tx.all(SQL["under_way"], values)

        used, under_way = await self._database.read(job, user=user_id)
        total, reserved = NO_USAGE if used is None else _usage(used), Amount()
        for settled, *figures in under_way:
            if settled:
                total += _usage(figures)
            else:
                reserved = Amount(figures[0] + figures[1], figures[3] or 0)
        return Account(day=values["day"], renews_at=renewal(now), used=total, reserved=reserved)


async def settle(tx: Transaction, run: dict[str, Any], charges: Sequence[Charge]) -> None:
    """Writes what requests of a run used in the end, once: what is settled already stays."""
    for charge in charges:
        values = run | {"step": charge.key} | figures_of(charge.usage)
        if charge.shared and (reserved := await tx.one(SQL["reserved"], values)) is not None:
            day, tokens, cost = reserved
            used = charge.usage.input_tokens + charge.usage.output_tokens
            await _add_part(tx, day, Amount(used - tokens, (values["cost"] or 0) - cost))
        await tx.run(SQL["settle"], values)


async def close_account(tx: Transaction, run: dict[str, Any], bill: Bill) -> None:
    """Adds to the user's days what a run that ends has used; what it had reserved beyond that is free again.

    The caller holds the user's lock, and ends the run in this transaction, so that it is done once.
    """
    found: list[Row] = []
    if bill.charged:
        await settle(tx, run, bill.charges)
        found = await tx.all(SQL["of_run"], run)
    if not found:
        if bill.usage != NO_USAGE:
            await tx.run(SQL["add_usage"], run | {"day": day_of(now_ms())} | figures_of(bill.usage))
        return
    days: dict[str, Usage] = {}
    for day, settled, shared, *figures in found:
        if settled:
            days[day] = days.get(day, NO_USAGE) + _usage(figures)
        elif shared:
            await _add_part(tx, day, Amount(-figures[0] - figures[1], -(figures[3] or 0)))
    for day, usage in days.items():
        await tx.run(SQL["add_usage"], run | {"day": day} | figures_of(usage))
    await tx.run(SQL["forget"], run)


def day_of(ms: int) -> str:
    """The date in UTC."""
    return from_ms(ms).date().isoformat()


def renewal(ms: int) -> str:
    """When the day of this moment is over, as RFC 3339."""
    midnight = from_ms(ms).astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return midnight.isoformat().replace("+00:00", "Z")


async def _standing(tx: Transaction, values: dict[str, Any]) -> dict[Scope, Amount]:
    """What was used and reserved of the run's budget and of the user's."""
    row = await tx.one(SQL["standing"], values)
    assert row is not None
    before = await tx.one(SQL["used"], values)
    ended = Amount() if before is None else Amount(before[0] + before[1], before[3] or 0)
    return {"run": Amount(row[0], row[1]), "user": Amount(row[2], row[3]) + ended, "day": Amount()}


async def _everybodys(tx: Transaction, values: dict[str, Any]) -> tuple[Amount, Amount]:
    """What everybody's day has come to without this request, and what was reserved for that before.

    Its parts are taken: one must be left again. Under a lock that is taken after the user's by whoever reserves, in a
    transaction of its own: nobody who holds anything else waits for it.
    """
    await tx.lock(EVERYBODY)
    await tx.run(SQL["forget_parts"], {"before": values["day"]})
    whole = Amount()
    for tokens, cost in await tx.all(SQL["take_parts"], values):
        whole += Amount(tokens, cost)
    row = await tx.one(SQL["reserved"], values)
    before = Amount(row[1], row[2]) if row is not None and row[0] == values["day"] else Amount()
    return Amount(whole.tokens - before.tokens, whole.cost - before.cost), before


async def _add_part(tx: Transaction, day: str, amount: Amount) -> None:
    await tx.run(SQL["add_part"], {"day": day, "id": new_id("day"), "tokens": amount.tokens, "cost": amount.cost})


def figures_of(usage: Usage) -> dict[str, Any]:
    """What was used, as columns."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "requests": usage.requests,
        "cost": nano(usage.cost_usd),
    }


def _usage(row: Sequence[Any]) -> Usage:
    input_tokens, output_tokens, requests, cost = row
    return Usage(input_tokens, output_tokens, requests, None if cost is None else dollars(cost))
