"""What a check of `netra doctor` found."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, how it is, and what there is to say of it."""

    name: str
    state: Literal["ok", "warning", "wrong"]
    detail: str
