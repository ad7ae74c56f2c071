"""What the tools of the cost team give: figures, each with what it rests on. Amounts are US dollars."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class Value(BaseModel):
    """A frozen value."""

    model_config = ConfigDict(frozen=True)


class Source(Value):
    """What is analysed: a file of the thread, or the made-up sample."""

    file_id: str
    name: str
    sample: bool = False


class FileSeen(Value):
    """A file of the thread; `problem` says why it is none that can be analysed."""

    file_id: str
    name: str
    size: int
    kind: str = ""
    problem: str = ""


class Line(Value):
    """One line of a breakdown: of a model, a feature or a period. `share` is of the whole cost, 0 to 1."""

    name: str
    cost: float
    share: float
    requests: float | None
    input_tokens: int
    output_tokens: int


class Costs(Value):
    """What was spent, on what and when."""

    kind: str
    rows: int
    unreadable: int
    empty: int
    problems: tuple[str, ...]
    first: str
    last: str
    days: int
    total: float
    requests: float | None
    input_tokens: int
    output_tokens: int
    by_list_price: int
    not_priced: int
    models_not_priced: tuple[str, ...]
    models: tuple[Line, ...]
    features: tuple[Line, ...]
    feature_column: str | None
    period: Literal["day", "week", "month"]
    periods: tuple[Line, ...]
    assumptions: tuple[str, ...]


class Spread(Value):
    """How a figure is distributed over the rows that have it."""

    name: str
    unit: str
    rows: int
    p50: float
    p95: float
    p99: float


class Anomaly(Value):
    """A day or a row that cost far more than is usual; `times` the usual."""

    what: Literal["day", "row"]
    name: str
    cost: float
    usual: float
    times: float


class Peak(Value):
    """When most was spent: the `share` of the whole cost."""

    what: Literal["day", "hour", "hour of the day", "weekday"]
    name: str
    cost: float
    share: float


class Spreads(Value):
    """Percentiles, what stands out, and when most is spent."""

    percentiles: tuple[Spread, ...]
    anomalies: tuple[Anomaly, ...]
    rule: str
    peaks: tuple[Peak, ...]
    notes: tuple[str, ...]


class Repeated(Value):
    """A prompt that came again, `times` in all, of which the repetitions cost `cost`."""

    feature: str
    model: str
    times: int
    cost: float


class Duplicates(Value):
    """Prompts that came again. `column` is what tells them apart; None where the file has nothing that does."""

    column: str | None
    rows: int
    repetitions: int
    cost: float
    top: tuple[Repeated, ...]
    note: str


class Saving(Value):
    """What could be saved: `saved` in the file's time, `monthly` in 30 days; `assumption` is what that rests on."""

    kind: Literal["model", "response cache", "prompt cache", "prompt length"]
    title: str
    now: float
    saved: float
    monthly: float
    assumption: str


class Savings(Value):
    """What could be saved in one way, the largest first."""

    savings: tuple[Saving, ...]
    note: str


class Action(Value):
    """Something to do; `effort` and `risk` are judgements of the kind of saving, not measured."""

    rank: int
    title: str
    monthly: float
    effort: Literal["low", "medium", "high"]
    risk: Literal["low", "medium", "high"]
    check: str
    assumption: str


class Actions(Value):
    """What to do, in an order."""

    order: Literal["saving", "effort"]
    actions: tuple[Action, ...]
    note: str


class Assignment(Value):
    """What a member is asked to do, with what."""

    asked: str
    source: Source


class Answered(Value):
    """What came of asking for data: what the user said, if he was asked, and what that is.

    Without a `source`, `problem` says what is wrong with the file that there is, and `advice` what to do.
    """

    said: str = ""
    source: Source | None = None
    problem: str = ""
    advice: str = ""


class Measured(Value):
    """What the data member found; what is None was not measured."""

    costs: Costs | None = None
    spreads: Spreads | None = None
    duplicates: Duplicates | None = None


class Optimised(Value):
    """What the optimisation member found; what is None was not computed."""

    models: Savings | None = None
    caching: Savings | None = None
    prompts: Savings | None = None


class Ranking(Value):
    """What is ranked, and what the user asked, who may prefer an order."""

    asked: str
    optimised: Optimised
