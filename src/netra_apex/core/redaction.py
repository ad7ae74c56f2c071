"""Secrets are taken out of everything before it is stored or told: texts, JSON values, and texts that come in pieces.

Two passes, one after the other: first the values that the process knows for secrets (its own keys), wherever they
stand; then what has the form of a secret. A form is a *head*, of bounded length, that makes sure that it is one, and a
*tail*, of any length, that belongs to it. That is what makes streaming exact and linear: at most a head is ever held
back, and a tail is dropped as it comes.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from netra_apex.core.secret_forms import FORMS, LOOK_BACK, Form, exact

REDACTED = "[redacted]"
MIN_SECRET = 8
MAX_DEPTH = 200

# Names whose values are secret, in small letters and without separators; so is any longer name with such an end.
_SECRET_NAMES = (
    *("password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "authorization", "cookie"),
    *("privatekey", "secretkey", "accesskey", "credential", "credentials", "passwords", "secrets", "apikeys"),
    *("authorizationheader", "accesstokens", "refreshtokens", "apitokens", "authtokens"),
)
# These only where the value is text, or a list with text: a number of tokens, or of passed tests, is no secret.
_SECRET_TEXT_NAMES = ("tokens", "pass")
_SECRET_TEXT_ENDS = ("_pass", "-pass", ".pass")
_HARMLESS_NAMES = ("pagetoken", "nexttoken", "continuationtoken", "synctoken")
_SEPARATORS = str.maketrans("", "", "-_ .")


class Redactor:
    """Takes secrets out of texts and JSON values. Immutable, so that one serves a whole process.

    `secrets` are values that must not be shown wherever they stand; those under 8 characters are left out, as they
    would turn up in ordinary words.
    """

    __slots__ = ("_passes",)

    def __init__(self, secrets: Sequence[str] = ()) -> None:
        # The longest first: one secret may begin with another.
        known = sorted({secret for secret in secrets if len(secret) >= MIN_SECRET}, key=lambda one: (-len(one), one))
        by_value = (_Pass([exact(secret) for secret in known]),) if known else ()
        self._passes = (*by_value, _BY_FORM)

    def text(self, text: str) -> str:
        """`text` with each secret replaced by `[redacted]`, and fit to be sent. Linear in its length."""
        text = _sendable(text)
        for one in self._passes:
            text = one.text(text)
        return text

    def value(self, value: Any) -> Any:
        """A JSON value with its texts redacted, and whatever stands under a key that is named like a secret.

        What is nested deeper than 200 levels is redacted unseen.
        """
        return self._value(value, 0)

    def json(self, text: str) -> str:
        """A text that may be JSON: redacted as the value that it is where it is an object or array, else as text."""
        try:
            parsed = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return self.text(text)
        redacted = self.value(parsed)
        if not isinstance(parsed, dict | list) or redacted == parsed:
            return self.text(text)
        return self.text(msgspec.json.encode(redacted).decode())

    def begin(self) -> "tuple[_PassStream, ...]":
        """Its passes, each at the beginning of a text in pieces."""
        return tuple(_PassStream(one) for one in self._passes)

    def _value(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if not isinstance(value, Mapping | list | tuple):
            return value
        if depth >= MAX_DEPTH:
            return REDACTED
        if isinstance(value, Mapping):
            items = cast("Mapping[Any, Any]", value).items()
            return {self._value(key, depth): self._member(key, item, depth + 1) for key, item in items}
        redacted = [self._value(item, depth + 1) for item in cast("Sequence[Any]", value)]
        return redacted if isinstance(value, list) else tuple(redacted)

    def _member(self, key: Any, value: Any, depth: int) -> Any:
        if value is None or isinstance(value, bool) or not isinstance(key, str):
            return self._value(value, depth)
        name = key.translate(_SEPARATORS).lower()
        if name.endswith(_SECRET_NAMES) and not name.endswith(_HARMLESS_NAMES):
            return REDACTED
        if (name in _SECRET_TEXT_NAMES or key.lower().endswith(_SECRET_TEXT_ENDS)) and _is_text(value):
            return REDACTED
        return self._value(value, depth)


class RedactingStream:
    """Redacts a text that comes in pieces: all that `feed` and `end` give makes `Redactor.text` of the whole.

    Only what may yet become a secret is held back, and never more than a secret's beginning (about 600 characters, or
    a configured secret's length), so that the work is linear in the text's length, however it is cut.
    """

    __slots__ = ("_passes",)

    def __init__(self, redactor: Redactor) -> None:
        self._passes = redactor.begin()

    def feed(self, piece: str) -> str:
        """What may be shown now, with `piece` at the end of the text."""
        piece = _sendable(piece)
        for one in self._passes:
            piece = one.feed(piece)
        return piece

    def end(self) -> str:
        """The rest. The stream may then take another text, which is as if it went on."""
        rest = ""
        for one in self._passes:
            rest = one.feed(rest) + one.end()
        return rest


def _is_text(value: Any) -> bool:
    """Whether it is a text, or a list with one."""
    return isinstance(value, str) or (
        isinstance(value, list) and any(isinstance(one, str) for one in cast("list[Any]", value))
    )


def _sendable(text: str) -> str:
    # Half a surrogate pair has no UTF-8: neither the log nor a socket would take it. It becomes "?".
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _any_of(alternatives: Mapping[str, Sequence[str]]) -> re.Pattern[str]:
    """One regular expression out of those that go on after a first character."""
    return re.compile("|".join(f"{first}(?:{'|'.join(rest)})" for first, rest in alternatives.items()))


class _Pass:
    """The regular expressions of one pass over a text, compiled once."""

    __slots__ = ("forms", "look_back", "partial", "tails", "tails_open", "whole")

    def __init__(self, forms: Sequence[Form], *, look_back: int = 1) -> None:
        self.look_back = look_back
        # The name of a group tells which form has matched: the outermost group is the one that closes last.
        self.forms = {f"f{number}": form for number, form in enumerate(forms)}
        # By their first character and gate: where a text has another, one look is enough.
        whole: dict[str, list[str]] = {}
        partial: dict[str, list[str]] = {}
        for name, form in self.forms.items():
            head = f"(?P<{name}>{form.head.replace('?P<kept>', f'?P<kept_{name}>')})"
            whole.setdefault(form.first + form.gate, []).append(head)
            # First its head and then its beginning: what a form earlier in the order may still take is held back.
            partial.setdefault(form.first + form.gate, []).extend((head, f"(?P<begun_{name}>{form.begun})"))
        self.whole, self.partial = _any_of(whole), _any_of(partial)
        self.tails = {name: re.compile(form.tail) for name, form in self.forms.items()}
        self.tails_open = {name: re.compile(form.tail_open) for name, form in self.forms.items() if form.tail_open}

    def text(self, text: str, start: int = 0) -> str:
        """`text` from `start` on without secrets; what stands before `start` is only looked back at."""
        found = self.whole.search(text, start)
        if found is None:
            return text[start:]
        pieces: list[str] = []
        while found is not None:
            name = cast("str", found.lastgroup)
            pieces += (text[start : self.begin(found, name)], REDACTED)
            start = self.skip(text, found.end(), name)
            found = self.whole.search(text, start)
        pieces.append(text[start:])
        return "".join(pieces)

    def begin(self, found: re.Match[str], name: str) -> int:
        """Where the secret itself begins."""
        return found.end(f"kept_{name}") if self.forms[name].keeps else found.start()

    def skip(self, text: str, start: int, name: str) -> int:
        """Where the tail that begins at `start` ends, given that the text is whole."""
        tail = self.tails[name].match(text, start)
        return start if tail is None else tail.end()


class _PassStream:
    """One pass over a text that comes in pieces.

    `_held` may yet become a secret, or end one; `_inside` is the form in whose tail the text ends; `_before` is what
    stands before it all, for a form that looks back.
    """

    __slots__ = ("_before", "_held", "_inside", "_look_back", "_pass")

    def __init__(self, one: _Pass) -> None:
        self._pass = one
        self._look_back = one.look_back
        self._before = ""
        self._held = ""
        self._inside: str | None = None

    def feed(self, piece: str) -> str:
        if not piece:
            return ""
        text = self._before + self._held + piece
        start = len(self._before)
        if self._inside is not None:
            after = self._skip(text, start, self._inside)
            if after is None:
                return ""
            start = after
        found = self._pass.partial.search(text, start)
        if found is not None:
            return self._scan(text, start, found)
        self._before = text[-self._look_back :]
        self._held = ""
        return text[start:]

    def end(self) -> str:
        text = self._before + self._held
        start = len(self._before)
        if self._inside is not None:
            start = self._pass.skip(text, start, self._inside)
        self._before, self._held, self._inside = text[-self._look_back :], "", None
        return self._pass.text(text, start)

    def _scan(self, text: str, start: int, found: re.Match[str] | None) -> str:
        """Gives out what is sure of `text` from `start` on, and keeps the rest."""
        pieces: list[str] = []
        while found is not None:
            name = cast("str", found.lastgroup)
            if name.startswith("begun"):
                pieces.append(text[start : found.start()])
                self._keep(text, found.start())
                return "".join(pieces)
            pieces += (text[start : self._pass.begin(found, name)], REDACTED)
            after = self._skip(text, found.end(), name)
            if after is None:
                return "".join(pieces)
            start = after
            found = self._pass.partial.search(text, start)
        pieces.append(text[start:])
        self._keep(text, len(text))
        return "".join(pieces)

    def _skip(self, text: str, start: int, name: str) -> int | None:
        """Where the tail that begins at `start` ends. None: it may go on after the text, so the stream is inside it."""
        tail_open = self._pass.tails_open.get(name)
        found = None if tail_open is None else tail_open.match(text, start)
        if found is None:
            self._inside = None
            return self._pass.skip(text, start, name)
        self._inside = name
        self._keep(text, found.start("held"))
        return None

    def _keep(self, text: str, start: int) -> None:
        self._before = text[max(0, start - self._look_back) : start]
        self._held = text[start:]


_BY_FORM = _Pass(FORMS, look_back=LOOK_BACK)
