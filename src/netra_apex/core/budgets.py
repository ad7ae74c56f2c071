"""Budgets: what a run, a user's day and everybody's day may use, decided from values alone; and the port of the book.

A model request is reserved for before it is sent, with the most that it is likely to use, and settled to what it did
use with the step that keeps its reply. So requests side by side can't together exceed what is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, Protocol, Self

import msgspec

from netra_apex.core.messages import Usage

NANO = 1_000_000_000  # of a US dollar: costs are summed as whole numbers, which databases add exactly

Scope = Literal["run", "user", "day"]
_SCOPES: tuple[Scope, ...] = ("run", "user", "day")
_WHOSE: Mapping[Scope, str] = MappingProxyType(
    {"run": "for a run", "user": "per user and day", "day": "of everybody together per day"}
)
_SETTINGS: Mapping[tuple[Scope, str], str] = MappingProxyType(
    {
        ("run", "tokens"): "NETRA_RUN_TOKENS",
        ("run", "cost"): "NETRA_RUN_COST_USD",
        ("user", "tokens"): "NETRA_USER_TOKENS_PER_DAY",
        ("user", "cost"): "NETRA_USER_COST_USD_PER_DAY",
        ("day", "tokens"): "NETRA_DAY_TOKENS",
        ("day", "cost"): "NETRA_DAY_COST_USD",
    }
)


@dataclass(frozen=True, slots=True)
class Amount:
    """Tokens of input and output together, and billionths of a US dollar."""

    tokens: int = 0
    cost: int = 0

    def __add__(self, other: Self) -> "Amount":
        return Amount(self.tokens + other.tokens, self.cost + other.cost)


@dataclass(frozen=True, slots=True)
class Bound:
    """The most that may be used; None is no bound. `cost` as in `Amount`."""

    tokens: int | None = None
    cost: int | None = None

    def __bool__(self) -> bool:
        return self.tokens is not None or self.cost is not None


@dataclass(frozen=True, slots=True)
class Limits:
    """The budgets of a process: of each run, of each user's day, and of everybody's day together. Days are UTC."""

    run: Bound = Bound()
    user: Bound = Bound()
    day: Bound = Bound()

    def __bool__(self) -> bool:
        return bool(self.run or self.user or self.day)


@dataclass(frozen=True, kw_only=True, slots=True)
class Excess:
    """A budget that does not suffice for a request; costs in billionths of a US dollar."""

    scope: Scope
    measure: Literal["tokens", "cost"]
    limit: int
    used: int
    wanted: int
    renews_at: str

    @property
    def setting(self) -> str:
        """The variable that sets it."""
        return _SETTINGS[self.scope, self.measure]

    def __str__(self) -> str:
        limit, used, wanted = (self._written(each) for each in (self.limit, self.used, self.wanted))
        # What others have used is nobody's business.
        so_far = "is used up" if self.scope == "day" else f"does not suffice: {used} are used or reserved"
        said = (
            f"the budget of {limit} {_WHOSE[self.scope]} ({self.setting}) {so_far}, and this request may take {wanted}"
        )
        return said if self.scope == "run" else f"{said}; it is renewed at {self.renews_at}"

    def _written(self, amount: int) -> str:
        return f"{amount:,} tokens" if self.measure == "tokens" else f"${dollars(amount):,.6g}"


def excess(limits: Limits, used: Mapping[Scope, Amount], wanted: Amount, *, renews_at: str) -> Excess | None:
    """The first budget that does not suffice for this besides what is used and reserved; None where all do."""
    for scope in _SCOPES:
        bound, so_far = getattr(limits, scope), used[scope]
        measures: tuple[tuple[Literal["tokens", "cost"], int | None, int, int], ...] = (
            ("tokens", bound.tokens, so_far.tokens, wanted.tokens),
            ("cost", bound.cost, so_far.cost, wanted.cost),
        )
        for measure, limit, spent, more in measures:
            if limit is not None and spent + more > limit:
                return Excess(scope=scope, measure=measure, limit=limit, used=spent, wanted=more, renews_at=renews_at)
    return None


def nano(dollars: float | None) -> int | None:
    """US dollars as billionths."""
    return None if dollars is None else round(dollars * NANO)


def dollars(cost: int) -> float:
    """Billionths as US dollars."""
    return cost / NANO


class Charge(msgspec.Struct, frozen=True):
    """What a reserved request has used in the end, by the key of its step; `shared`: everybody's day counts it too."""

    key: str
    usage: Usage
    shared: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Bill:
    """What a run that ends has used, members included.

    Where requests were reserved for (`charged`), the book has it already, but for `charges` that were under way.
    `model` is the one that was asked last.
    """

    usage: Usage
    charged: bool
    charges: tuple[Charge, ...] = ()
    model: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reservation:
    """The most that a request is likely to use. `key` is its step's, `epoch` of who has the run."""

    user_id: str
    run_id: str
    key: str
    epoch: int
    usage: Usage

    @property
    def amount(self) -> Amount:
        """What budgets count of it."""
        return amount(self.usage)


def amount(usage: Usage) -> Amount:
    """What budgets count of this."""
    return Amount(usage.input_tokens + usage.output_tokens, nano(usage.cost_usd) or 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """How a user stands today. `day` is its date in UTC, `used` what was settled, `reserved` what is under way."""

    day: str
    renews_at: str
    used: Usage
    reserved: Amount


class Book(Protocol):
    """Where it is written what was reserved and used. Every method takes the owner, and another's is as none (G5)."""

    async def reserve(self, wanted: Reservation, limits: Limits) -> Excess | None:
        """Reserves, atomically with the decision that it may; the budget that does not suffice where it may not.

        The same key again takes the place of what was reserved before: the run was taken up, and asks anew.

        Raises: StoreError: nothing was reserved.
        """
        ...

    async def account(self, user_id: str) -> Account:
        """How the user stands today."""
        ...


class Price(Protocol):
    """What a model costs."""

    def cost(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> float:
        """In US dollars; the cached ones are among those of the input."""
        ...
