"""What a run's model requests cost, and whether its budgets suffice for them: reserved before, settled after."""

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from netra_apex.core.budgets import Bill, Book, Bound, Charge, Limits, Price, Reservation, nano
from netra_apex.core.context import UserExecutionContext
from netra_apex.core.journal import Step
from netra_apex.core.messages import NO_USAGE, ModelRequest, Reply, Usage
from netra_apex.core.voices import Deltas, Model
from netra_apex.errors import BudgetExceeded, ModelFailed
from netra_apex.settings import Settings

# No tokenizer knows every model. Ordinary text has 3.5 to 5 bytes for each token, JSON and code some 3.
BYTES_PER_TOKEN = 3
MOST_TOKENS, MOST_USD = 1_000_000_000, 1_000_000.0  # of one request: figures beyond are none, and would fit no sum


@dataclass(frozen=True, slots=True)
class Budgets:
    """What a process knows of money: prices by model, the limits that are set, and the book that it writes to.

    `output_tokens` is the longest answer that a model may give while there is a limit; where one of them is of money,
    a model `needs_prices` to be asked.
    """

    price: Callable[[str], Price | None]
    book: Book
    limits: Limits
    output_tokens: int
    needs_prices: bool

    @classmethod
    def of(cls, settings: Settings, price: Callable[[str], Price | None], book: Book) -> Self:
        """Those that the settings name."""
        limits = Limits(
            run=Bound(settings.run_tokens, nano(settings.run_cost_usd)),
            user=Bound(settings.user_tokens_per_day, nano(settings.user_cost_usd_per_day)),
            day=Bound(settings.day_tokens, nano(settings.day_cost_usd)),
        )
        return cls(price, book, limits, settings.model_output_tokens, settings.costs_are_limited)


@dataclass(slots=True)
class RunBudget:
    """One run's: what its agents ask, members included. `epoch` is of who has the run.

    `settling` is the storing of what was settled last, `model` the name of the one that was asked last.
    """

    budgets: Budgets
    context: UserExecutionContext
    epoch: int
    open: "dict[str, Asking]" = field(default_factory=dict[str, "Asking"])
    settling: Awaitable[None] | None = None
    model: str | None = None

    def asking(self, model: str, request: ModelRequest, key: str) -> "Asking":
        """A request that is about to be sent; `key` is its step's."""
        self.model = model
        asking = self.open[key] = Asking(self, model, request, key)
        return asking

    def bill(self, told: Usage) -> Bill:
        """What the run has used as it ends: what its agents were `told` by models, and what broke off with it."""
        used = told
        for asking in self.open.values():
            used += asking.used
        charges = tuple(asking.charge for asking in self.open.values() if asking.sent)
        charged = bool(self.budgets.limits)
        return Bill(usage=used, charged=charged, charges=charges if charged else (), model=self.model)


class Asking:
    """One model request. `used` is what is known of its use so far: what came of it, or what was told of it."""

    def __init__(self, run: RunBudget, model: str, request: ModelRequest, key: str) -> None:
        self._run = run
        self._model = model
        self._request = request
        self._key = key
        self._price = run.budgets.price(model)
        self._limits = run.budgets.limits
        self._input_tokens = 0
        self._heard = Heard()
        self.sent = False
        self.used = NO_USAGE

    async def ask(self, model: Model, deltas: Deltas) -> Reply:
        """The model's reply, with what it cost; reserved for before, where there is a budget.

        Raises:
            BudgetExceeded: nothing was sent.
            ModelFailed: as `Model.complete`.
        """
        if not self._limits:
            reply = await model.complete(self._request, deltas)
            self.used = self._priced(reply)
            return reply if self.used is reply.usage else dataclasses.replace(reply, usage=self.used)
        await self._reserve()
        self.sent = True
        self._heard.deltas = deltas
        try:
            reply = await model.complete(
                dataclasses.replace(self._request, output_tokens=self._run.budgets.output_tokens), self._heard
            )
        except BaseException as error:
            # What a provider refused costs nothing. What broke off was paid for as far as it came.
            if not isinstance(error, ModelFailed) or self._heard.size:
                self.used = self._usage(self._input_tokens, tokens_in(self._heard.size))
            raise
        self.used = self._priced(reply)
        return dataclasses.replace(reply, usage=self.used)

    def settled(self, step: Step) -> Step:
        """The step that keeps what came of the request, with what it has used."""
        self._run.open.pop(self._key, None)
        return replace(step, charge=self.charge) if self.sent else step

    @property
    def charge(self) -> Charge:
        """What it has used, for the book."""
        return Charge(self._key, self.used, bool(self._limits.day))

    async def _reserve(self) -> None:
        budgets, context = self._run.budgets, self._run.context
        if self._price is None and budgets.needs_prices:
            raise BudgetExceeded(
                f"the price of {self._model} is not known, and there is a budget of money: the server's operator gives "
                f"it with NETRA_MODEL_PRICES={self._model}=INPUT/OUTPUT",
                setting="NETRA_MODEL_PRICES",
            )
        self._input_tokens = tokens_in(len(_encode(self._request)))
        wanted = Reservation(
            user_id=context.user_id,
            run_id=context.run_id,
            key=self._key,
            epoch=self._run.epoch,
            usage=self._usage(self._input_tokens, budgets.output_tokens),
        )
        if self._run.settling is not None:
            # What the run's last request has left over is free by now: it must not be missing for this one.
            await self._run.settling
        found = await budgets.book.reserve(wanted, self._limits)
        if found is not None:
            raise BudgetExceeded(str(found), setting=found.setting)

    def _priced(self, reply: Reply) -> Usage:
        usage = plausible(reply.usage)
        if self._limits and not usage.input_tokens and not usage.output_tokens:
            # A server that tells no figures is not one that asks no money.
            said = reply.text, reply.thinking, reply.tool_calls
            return self._usage(self._input_tokens, tokens_in(len(msgspec.json.encode(said))))
        if usage.cost_usd is not None or self._price is None:
            return usage
        return replace(usage, cost_usd=self._price.cost(usage.input_tokens, usage.output_tokens, reply.cached_tokens))

    def _usage(self, input_tokens: int, output_tokens: int) -> Usage:
        cost = None if self._price is None else self._price.cost(input_tokens, output_tokens)
        return Usage(input_tokens, output_tokens, 1, cost)


class Heard:
    """Tells an answer on, and counts how much of it came: one that breaks off has no figures. `core.voices.Deltas`."""

    deltas: Deltas

    def __init__(self) -> None:
        self.size = 0

    @property
    def pace(self) -> float:
        """See `Deltas.pace`."""
        return self.deltas.pace

    def text(self, piece: str) -> None:
        """See `Deltas.text`."""
        self.size += len(piece.encode("utf-8", "replace"))
        self.deltas.text(piece)

    def thinking(self, piece: str) -> None:
        """See `Deltas.thinking`."""
        self.size += len(piece.encode("utf-8", "replace"))
        self.deltas.thinking(piece)

    def reset(self) -> None:
        """See `Deltas.reset`. What came before was paid for too."""
        self.deltas.reset()


def plausible(told: Usage) -> Usage:
    """What a model says that it has used, as far as it can be: less than nothing would let its user ask for more."""
    asked, answered = (min(max(each, 0), MOST_TOKENS) for each in (told.input_tokens, told.output_tokens))
    cost = told.cost_usd if told.cost_usd is not None and 0 <= told.cost_usd <= MOST_USD else None
    found = Usage(asked, answered, told.requests, cost)
    return told if found == told else found


def tokens_in(size: int) -> int:
    """How many tokens so many bytes of text are, rather too many than too few."""
    return -(-size // BYTES_PER_TOKEN)


def _plain(value: object) -> object:
    """Schemas are registered as read-only mappings, which msgspec does not encode by itself."""
    if isinstance(value, Mapping):
        return dict[Any, Any](value)  # type: ignore[arg-type]
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode
