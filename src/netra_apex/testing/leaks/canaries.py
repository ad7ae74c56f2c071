"""Canaries: words of which each is one user's alone, so that wherever one turns up, it says whose it is."""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass

_WORD = re.compile(r"cnry[0-9a-f]{12}q")
_BYTES = re.compile(rb"cnry[0-9a-f]{12}q")


@dataclass(frozen=True, slots=True)
class Person:
    """A user of the leak test. `canary` is in every field that is this user's."""

    user_id: str
    canary: str

    def word(self, label: str) -> str:
        """The canary, with the name of the field that it was put into."""
        return f"{label}-{self.canary}"


class Crowd:
    """The users of a leak test, and whose a canary is."""

    def __init__(self, size: int, seed: int) -> None:
        people = (Person(f"leak-user-{seed}-{number}", f"cnry{secrets.token_hex(6)}q") for number in range(size))
        self.people = tuple(people)
        self._owner = {person.canary: person for person in self.people}

    def owners(self, text: str | bytes) -> list[Person]:
        """Whose canaries are in it, in the order of the text, each once."""
        found: Iterable[str]
        found = (word.decode() for word in _BYTES.findall(text)) if isinstance(text, bytes) else _WORD.findall(text)
        return [self._owner[word] for word in dict.fromkeys(found) if word in self._owner]

    def foreign(self, text: str | bytes, owner: Person | None) -> Person | None:
        """Somebody else whose canary is in it; with no owner, anybody."""
        return next((person for person in self.owners(text) if person is not owner), None)

    def neighbour(self, person: Person) -> Person:
        """Somebody else, always the same."""
        return self.people[self.people.index(person) - 1]

    def of(self, user_id: object) -> Person | None:
        """The user of this id."""
        return next((person for person in self.people if person.user_id == user_id), None)
