"""Secrets are taken out of everything before it is stored or told: texts, JSON values, and texts that come in pieces.

Two passes, one after the other: first the values that the process knows for secrets (its own keys), wherever they
stand; then what has the form of a secret. A form is a *head*, of bounded length, that makes sure that it is one, and a
*tail*, of any length, that belongs to it. That is what makes streaming exact and linear: at most a head is ever held
back, and a tail is dropped as it comes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import msgspec

REDACTED = "[redacted]"
MIN_SECRET = 8
MAX_DEPTH = 200

# A word may not begin a secret in its middle: "task-…" has no "sk-…" in it.
_ALNUM = "A-Za-z0-9"
_KEY = "A-Za-z0-9_-"
_BEARER = r"A-Za-z0-9._~+/=-"
_USER = r"[^\s/?#@:\"'<>`]"
_AFTER_COLON = r"[^\s/?#@\"'<>`]"
_PEM = r"A-Za-z0-9+/=\s\\:,.()_"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Form:
    """One form of secret, as regular expressions.

    `first` is its first character, apart so that the scan for it is quick, and `head` the rest of the head. `begun`
    matches each beginning of a head that the text ends with, and may match more, which only holds back longer. `tail`
    goes on after the head. `tail_open` matches a tail that may go on after the end of the text, with a group `held`
    for the beginning of the tail's own end. A group `kept` in the head is no secret.
    """

    first: str
    head: str
    begun: str
    tail: str = ""
    tail_open: str = ""

    @property
    def keeps(self) -> bool:
        """Whether a part of its head stays."""
        return "?P<kept>" in self.head


def _units(text: str) -> list[str]:
    """Each character of `text` as a regular expression; `[abc]` is one of these."""
    return [unit if len(unit) > 1 else re.escape(unit) for unit in re.findall(r"\[[^]]+\]|.", text, re.DOTALL)]


def _so_far(units: Sequence[str]) -> str:
    """Matches the units, or, where the text ends among them, those up to there."""
    return "".join(rf"(?:{unit}|\Z)" for unit in units)


def _run(characters: str) -> dict[str, str]:
    """A tail of any length of one class of characters."""
    return {"tail": rf"[{characters}]*+", "tail_open": rf"[{characters}]*+(?P<held>)\Z"}


def _token(prefix: str, characters: str, least: int) -> _Form:
    """A prefix and at least so many characters of one class, not in the middle of a word."""
    first, *rest = _units(prefix)
    alone = rf"(?<![{_ALNUM}]{first})"
    return _Form(
        first=first,
        # The second character before the look back: it rules out most places, and costs less.
        head=rf"(?={rest[0]}){alone}{''.join(rest)}[{characters}]{{{least}}}",
        begun=rf"{alone}{_so_far(rest)}[{characters}]{{0,{least - 1}}}+\Z",
        **_run(characters),
    )


def _bearer(first: str) -> _Form:
    """`Bearer <token>`: 16 characters, or 8 with a digit, so that "Bearer authentication" stays."""
    alone = rf"(?<![{_ALNUM}]{first})"
    token = rf"(?:(?=[A-Za-z._~+/=-]{{0,15}}[0-9])[{_BEARER}]{{8}}|[{_BEARER}]{{16}})"
    return _Form(
        first=first,
        head=rf"{alone}(?P<kept>earer {{1,4}}+){token}",
        begun=rf"{alone}{_so_far(_units('earer'))}(?: {{1,4}}+|\Z)[{_BEARER}]{{0,15}}+\Z",
        **_run(_BEARER),
    )


def _exact(value: str) -> _Form:
    """A value that is known for a secret, wherever it stands."""
    rest = [re.escape(character) for character in value[1:]]
    return _Form(first=re.escape(value[0]), head="".join(rest), begun=_so_far(rest))


_END_BEGUN = _so_far(_units("----END "))
_FORMS = (
    # OpenAI and those who write alike; told from words with hyphens ("sk-learn-…") by a digit, a kind or its length.
    _Form(
        first="s",
        head=rf"(?<![{_ALNUM}]s)k-(?:(?=[A-Za-z_-]{{0,24}}[0-9])[{_KEY}]{{16}}"
        rf"|(?:ant|proj|svcacct|admin)-[{_KEY}]{{16}}|[{_ALNUM}]{{20}})",
        begun=rf"(?<![{_ALNUM}]s){_so_far(_units('k-'))}[{_KEY}]{{0,24}}+\Z",
        **_run(_KEY),
    ),
    _token("sk_live_", _ALNUM, 10),  # Stripe
    _token("sk_test_", _ALNUM, 10),
    _token("rk_live_", _ALNUM, 10),
    _token("A[KS]IA", "A-Z0-9", 16),  # AWS
    _token("AIza", _KEY, 20),  # Google
    _token("gh[posur]_", _ALNUM, 16),  # GitHub
    _token("github_pat_", "A-Za-z0-9_", 16),
    _token("glpat-", _KEY, 16),  # GitLab
    _token("gsk_", _ALNUM, 20),  # Groq
    _token("hf_", _ALNUM, 16),  # Hugging Face
    _token("xox[abeoprs]-", "A-Za-z0-9-", 10),  # Slack
    _Form(  # JSON Web Token: the first part, a point, the beginning of the second
        first="e",
        head=rf"(?=y)(?<![{_KEY}]e)yJ[{_KEY}]{{5,512}}+\.[{_KEY}]{{5}}",
        begun=rf"(?<![{_KEY}]e){_so_far(['y', 'J'])}(?:[{_KEY}]{{0,512}}+\Z|[{_KEY}]{{5,512}}+\.[{_KEY}]{{0,4}}+\Z)",
        **_run("." + _KEY),
    ),
    _bearer("B"),
    _bearer("b"),
    _Form(  # scheme://user:password@host
        first=":",
        head=rf"(?P<kept>//){_USER}{{0,128}}+:{_AFTER_COLON}{{1,256}}+(?=@)",
        begun=rf"{_so_far(['/', '/'])}{_USER}{{0,128}}+(?:\Z|:{_AFTER_COLON}{{0,256}}+\Z)",
    ),
    _Form(  # PEM; where its end never comes, up to the first character that a key does not have
        first="-",
        head=r"----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----",
        begun=rf"{_so_far(_units('----BEGIN '))}[A-Z0-9 ]{{0,49}}+-{{0,4}}+\Z",
        tail=rf"(?:[{_PEM}]|-(?!----END ))*+(?:-----END [A-Z0-9 ]{{0,49}}+-----)?+",
        tail_open=rf"(?:[{_PEM}]|-(?!{_END_BEGUN}))*+(?P<held>(?:-{_END_BEGUN}[A-Z0-9 ]{{0,49}}+-{{0,4}}+)?+)\Z",
    ),
)

# Names whose values are secret, in small letters and without separators; so is any longer name with such an end.
_SECRET_NAMES = (
    *("password", "passwd", "passphrase", "pwd", "secret", "token", "apikey", "authorization", "cookie"),
    *("privatekey", "secretkey", "accesskey", "credential", "credentials"),
)
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
        exact = (_Pass([_exact(secret) for secret in known]),) if known else ()
        self._passes = (*exact, _BY_FORM)

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


def _sendable(text: str) -> str:
    # Half a surrogate pair has no UTF-8: neither the log nor a socket would take it. It becomes "?".
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


class _Pass:
    """The regular expressions of one pass over a text, compiled once."""

    __slots__ = ("forms", "partial", "tails", "tails_open", "whole")

    def __init__(self, forms: Sequence[_Form]) -> None:
        # The name of a group tells which form has matched: the outermost group is the one that closes last.
        self.forms = {f"f{number}": form for number, form in enumerate(forms)}
        heads: dict[str, str] = {}
        for name, form in self.forms.items():
            heads[name] = f"{form.first}(?P<{name}>{form.head.replace('?P<kept>', f'?P<kept_{name}>')})"
        self.whole = re.compile("|".join(heads.values()))
        # For each form its head and then its beginning: what a form earlier in the order may still take is held back.
        either = (f"{heads[name]}|{form.first}(?P<begun_{name}>{form.begun})" for name, form in self.forms.items())
        self.partial = re.compile("|".join(either))
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

    `_held` may yet become a secret, or end one; `_inside` is the form in whose tail the text ends; `_before` is the one
    character before it all, for a form that may not begin inside a word.
    """

    __slots__ = ("_before", "_held", "_inside", "_pass")

    def __init__(self, one: _Pass) -> None:
        self._pass = one
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
        self._before = text[-1]
        self._held = ""
        return text[start:]

    def end(self) -> str:
        text = self._before + self._held
        start = len(self._before)
        if self._inside is not None:
            start = self._pass.skip(text, start, self._inside)
        self._before, self._held, self._inside = text[-1:], "", None
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
        self._before = text[start - 1 : start] if start else ""
        self._held = text[start:]


_BY_FORM = _Pass(_FORMS)
