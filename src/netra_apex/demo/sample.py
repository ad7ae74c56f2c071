"""A sample of usage, made up: rows as LiteLLM logs them, the same ones each time."""

import csv
import hashlib
import io
import random
from datetime import UTC, datetime, timedelta

ROWS = 3_000
DAYS = 30
SEED = 20_260_901
FIRST_DAY = datetime(2026, 9, 1, tzinfo=UTC)
SPIKE_DAY = 20  # on which a loop asks the same again and again
COLUMNS = (
    "request_id", "call_type", "api_key", "spend", "total_tokens", "prompt_tokens", "completion_tokens", "startTime",
    "endTime", "model", "user", "cache_hit", "cache_key", "request_tags",
)  # fmt: skip

# model, US dollars for a million tokens in and out, milliseconds for a token out
_MODELS = (
    ("gpt-4o", 2.5, 10.0, 14.0),
    ("gpt-4o-mini", 0.15, 0.6, 8.0),
    ("claude-sonnet-4-5", 3.0, 15.0, 15.0),
    ("claude-haiku-4-5", 1.0, 5.0, 7.0),
)
# feature, share of the requests, shares of the models, typical tokens in and out, how many prompts come again
_FEATURES = (
    ("support-chat", 45, (50, 30, 20, 0), 1_400, 260, 0.25),
    ("search-summaries", 25, (20, 60, 0, 20), 2_600, 180, 0.10),
    ("report-writer", 15, (30, 0, 70, 0), 5_200, 1_100, 0.02),
    ("ticket-triage", 15, (0, 40, 0, 60), 700, 40, 0.40),
)
_HOURS = (1, 1, 1, 1, 1, 2, 4, 8, 14, 18, 20, 18, 14, 17, 20, 19, 16, 12, 8, 6, 4, 3, 2, 1)


def sample_csv(*, rows: int = ROWS, seed: int = SEED) -> bytes:
    """A month of made-up usage in the form of LiteLLM's spend logs, oldest first; the same for the same arguments."""
    chance = random.Random(seed)  # noqa: S311 - made-up data, not a secret
    moments = sorted(_moment(chance) for _ in range(rows))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, moment in enumerate(moments):
        writer.writerow(_row(chance, number, moment))
    return out.getvalue().encode()


def _moment(chance: random.Random) -> datetime:
    day = chance.choices(range(DAYS), weights=[_weight(day) for day in range(DAYS)])[0]
    hour = chance.choices(range(24), weights=_HOURS)[0]
    return FIRST_DAY + timedelta(
        days=day, hours=hour, seconds=chance.randrange(3600), milliseconds=chance.randrange(1000)
    )


def _weight(day: int) -> float:
    weekend = (FIRST_DAY + timedelta(days=day)).weekday() >= 5
    return 6.0 if day == SPIKE_DAY else 0.35 if weekend else 1.0


def _row(chance: random.Random, number: int, moment: datetime) -> list[object]:
    feature, _, models, tokens_in, tokens_out, again = chance.choices(
        _FEATURES, weights=[each[1] for each in _FEATURES]
    )[0]
    model, price_in, price_out, pace = chance.choices(_MODELS, weights=models)[0]
    spike = (moment - FIRST_DAY).days == SPIKE_DAY
    repeated = chance.random() < (0.7 if spike else again)
    prompt = f"{feature}-{chance.randrange(40)}" if repeated else f"{feature}-{number}-{chance.randrange(10**9)}"
    asked = max(20, round(chance.lognormvariate(0, 0.5) * tokens_in * (6 if chance.random() < 0.02 else 1)))
    answered = max(5, round(chance.lognormvariate(0, 0.4) * tokens_out))
    took = 220 + answered * pace * chance.lognormvariate(0, 0.25)
    spend = round((asked * price_in + answered * price_out) / 1_000_000, 9)
    user, end = f"user-{chance.randrange(25):02d}", moment + timedelta(milliseconds=round(took))
    return [
        f"req-{number:06d}", "acompletion", f"key-{feature}", f"{spend:.9f}", asked + answered, asked, answered,
        _written(moment), _written(end), model, user, "False", _digest(prompt), f'["{feature}"]',
    ]  # fmt: skip


def _written(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _digest(prompt: str) -> str:
    return hashlib.blake2b(prompt.encode(), digest_size=8).hexdigest()
