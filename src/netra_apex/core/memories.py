"""What a user's agents remember of him: short texts of his own, which are searched by their words.

The search is a machine without I/O: which words a text has, and which of the texts that have some of them come first. A
user's words are weighed by his own memories alone: what others have written neither changes what he finds nor shows.
"""

import math
import re
import unicodedata
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from netra_apex.core.conversations import Page

MAX_MEMORY_KEY = 200
MAX_FOUND = 50
WORDS_ASKED = 32  # of a query; more of them make it no better
WORD_LENGTH = 40
# BM25, with the constants that everybody uses: how soon a word that is repeated stops counting, how much length does.
_SATURATION, _LENGTH = 1.2, 0.75
_WORD = re.compile(r"[^\W_]+")
# Writing without spaces: every two signs that follow one another are a word.
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Memory:
    """One thing that is remembered of a user. `key` is what the agents call it by, where they gave it a name."""

    memory_id: str
    text: str
    created_at: datetime
    key: str | None = None


class UserMemory(ABC):
    """What is remembered of a run's user, in all of his threads and by all of his agents.

    The user is that of the run's context, and nobody can name another. Using it after the run raises `ScopeClosed`.
    """

    @abstractmethod
    async def remember(self, text: str, *, key: str | None = None) -> Memory:
        """Keeps a text, without the secrets in it. It takes the place of what the same `key` had before.

        Without a key, the same text again is the same memory.

        Raises:
            Invalid: it is empty or longer than NETRA_MEMORY_CHARACTERS, or its user has NETRA_MEMORIES_PER_USER.
        """

    @abstractmethod
    async def search(self, query: str, *, limit: int = 5) -> tuple[Memory, ...]:
        """Those that have words of the query in them, at most 50, the most fitting first. Any text is a query."""

    @abstractmethod
    async def forget(self, memory_id: str) -> bool:
        """Forgets one for good; False where the user has no such."""

    @abstractmethod
    async def all(self, *, limit: int = 50) -> tuple[Memory, ...]:
        """The latest of them, at most 200, the latest first."""


class Memories(Protocol):
    """What users have remembered of them. Every method takes the owner, and another's memory is as none (G5)."""

    async def remember(self, user_id: str, text: str, key: str | None = None) -> Memory:
        """Keeps a text; in the place of what the key had, if there is one. Raises: Invalid: the user has too many."""
        ...

    async def page(
        self, user_id: str, *, limit: int = 50, cursor: str | None = None, query: str | None = None
    ) -> Page[Memory]:
        """The latest first; with a query those that have words of it, the most fitting first."""
        ...

    async def forget(self, user_id: str, memory_id: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that has a word: how often, and how many words it has in all."""

    memory_id: str
    times: int
    length: int


def words_of(text: str) -> tuple[str, ...]:
    """The words by which a text is found, in their order: without case and accents, and a plural as its singular."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    return tuple(word for found in _WORD.findall(plain) for word in _parts(found))


def _parts(found: str) -> Iterator[str]:
    start = 0
    for run in _UNSPACED.finditer(found):
        signs = run.group()
        if found[start : run.start()]:
            yield _singular(found[start : run.start()])[:WORD_LENGTH]
        yield from (signs[at : at + 2] for at in range(max(1, len(signs) - 1)))
        start = run.end()
    if found[start:]:
        yield _singular(found[start:])[:WORD_LENGTH]


def _singular(word: str) -> str:
    # No grammar: it is done to what is sought and to what is found alike.
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def asked_words(query: str) -> tuple[str, ...]:
    """The words of a query, each once."""
    return tuple(dict.fromkeys(words_of(query)))[:WORDS_ASKED]


def ranked(found: Sequence[Sequence[Hit]], count: int, words: int) -> tuple[str, ...]:
    """The ids of what was found, the most fitting first, and of equals the latest (BM25).

    `found` has the hits of each word that was asked for; `count` and `words` are those of all the user's memories.
    """
    scores: defaultdict[str, float] = defaultdict(float)
    mean = max(1.0, words / max(1, count))
    for hits in found:
        rarity = math.log(1 + (max(count, len(hits)) - len(hits) + 0.5) / (len(hits) + 0.5))
        for hit in hits:
            weight = _SATURATION * (1 - _LENGTH + _LENGTH * hit.length / mean)
            scores[hit.memory_id] += rarity * hit.times * (_SATURATION + 1) / (hit.times + weight)
    latest_first = sorted(scores, reverse=True)
    return tuple(sorted(latest_first, key=lambda memory_id: -scores[memory_id]))
