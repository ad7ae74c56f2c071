"""The forms of secrets, as regular expressions: keys of known makes, tokens, logins in addresses, and assignments.

An assignment (`password=…`, `"api_key": "…"`) is found at its `=` or `:`, with a look back at the name before it: so
prose about passwords is never held back, and any longer name with such an end counts too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

# A word may not begin a secret in its middle: "task-…" has no "sk-…" in it.
_ALNUM = "A-Za-z0-9"
_KEY = "A-Za-z0-9_-"
_BEARER = r"A-Za-z0-9._~+/=-"
_USER = r"[^\s/?#@:\"'<>`]"
_AFTER_COLON = r"[^\s/?#@\"'<>`]"
_PEM = r"A-Za-z0-9+/=\s\\:,.()_"
_BASE64 = r"A-Za-z0-9+/=_-"
_NO_VALUE = r"\s\"'`&,;<>\\"

# Names that a value is assigned to in a text, in small letters; each expression has one width, for looking back.
_NAMES = (
    *("password", "passwords", "passwd", "passphrase", "pwd", "secret", "token", "authorization"),
    *("apikey", "api[-_ ]key", "accesskey", "access[-_]key", "secretkey", "secret[-_]key"),
    *("privatekey", "private[-_]key"),
)
_HARMLESS = tuple(
    f"{kind}{between}token" for kind in ("page", "next", "continuation", "sync") for between in ("", "[-_]")
)
LOOK_BACK = 32
"""Characters that a form may look back at."""
_SIGN = {":": r"=?+[ \t]{0,4}+", "=": r">?+[ \t]{0,4}+"}  # what goes on after it: := and => are signs too, == is none
_BOLD = r"(?:\*\*[ \t]{0,4}+)?+"  # **Password:** …


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
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
    gate: str = ""
    """What several forms with one first character look back at first."""

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


def _token(prefix: str, characters: str, least: int) -> Form:
    """A prefix and at least so many characters of one class, not in the middle of a word."""
    first, *rest = _units(prefix)
    alone = rf"(?<![{_ALNUM}]{first})"
    return Form(
        first=first,
        # The second character before the look back: it rules out most places, and costs less.
        head=rf"(?={rest[0]}){alone}{''.join(rest)}[{characters}]{{{least}}}",
        begun=rf"{alone}{_so_far(rest)}[{characters}]{{0,{least - 1}}}+\Z",
        **_run(characters),
    )


def _bearer(first: str) -> Form:
    """`Bearer <token>` in any case: 16 characters, or 8 with a digit, so that "Bearer authentication" stays."""
    alone = rf"(?<![{_ALNUM}]{first})"
    token = rf"(?:(?=[A-Za-z._~+/=-]{{0,15}}[0-9])[{_BEARER}]{{8}}|[{_BEARER}]{{16}})"
    word = "[eE][aA][rR][eE][rR]"
    return Form(
        first=first,
        head=rf"(?=[eE]){alone}(?P<kept>{word} {{1,4}}+){token}",
        begun=rf"{alone}{_so_far(_units(word))}(?: {{1,4}}+|\Z)[{_BEARER}]{{0,15}}+\Z",
        **_run(_BEARER),
    )


def _named(sign: str, after: Sequence[str]) -> str:
    """Looks back at the sign, and before it at a secret's name and one of these, each of a fixed width."""
    places: list[str] = []
    for each in after:
        end = each + sign
        for last in sorted({name[-1] for name in _NAMES}):
            names = "|".join(f"(?<={name}{end})" for name in _NAMES if name[-1] == last)
            harmless = "".join(f"(?<!{name}{end})" for name in _HARMLESS if name[-1] == last)
            # The last letter before the names: it rules out most places.
            places.append(f"(?<=[{last}{last.upper()}]{end})(?ai:(?:{names}){harmless})")
    return f"(?:{'|'.join(places)})"


def _gate(sign: str) -> str:
    """Looks back at the last two letters of a name, or at what may stand between it and the sign: cheap, and rare."""
    ends = f"(?:{'|'.join(sorted({name[-2:] for name in _NAMES}))})"
    between = r"\*\*|  |\\\"|[\"'] "
    return rf"(?ai:(?<={ends}{sign})|(?<={ends}[ \"'`]{sign})|(?<=(?:{between}){sign}))"


def _assignment(sign: str, named: str, *, head: str, begun: str, **tail: str) -> Form:
    """What goes on after a sign that has a secret's name before it; `head` and `begun` begin after the sign."""
    # The value before the name: it rules out most places, and costs less.
    return Form(
        first=sign,
        head=rf"(?={head.replace('?P<kept>', '?:')}){named}{head}",
        begun=rf"(?={begun}){named}",
        gate=_gate(sign),
        **tail,
    )


def _quoted(sign: str, quote: Sequence[str], value: str) -> Form:
    """`"password": "…"`, key and value in quotes: any value counts, as it does under such a key of real JSON."""
    mark = "".join(quote)
    return _assignment(
        sign,
        _named(sign, (mark, f"{mark} ")),
        head=rf"(?P<kept>{_SIGN[sign]}{mark}){value}",
        begun=rf"{_SIGN[sign]}{_so_far(quote)}\\?+\Z",
        tail=f"{value}*+",
        tail_open=rf"{value}*+(?P<held>\\?+)\Z",
    )


def _assigned(sign: str, quote: str, symbols: str) -> Form:
    """`password=…`, the value in quotes or not: 6 characters or more, with a digit or symbol near their beginning.

    The digit comes before any bracket: `token = tokens[0]` is code.
    """
    value = rf"[^{quote}\\\n]" if quote else rf"[^{_NO_VALUE}]"
    plain = rf"{value[:-1]}()\[\]{{}}]"
    tail = _run(value[1:-1])
    if quote:
        escaped = rf"(?:{value}|\\[^\n])*+"
        tail = {"tail": escaped, "tail_open": rf"{escaped}(?P<held>\\?+)\Z"}
    return _assignment(
        sign,
        _named(sign, ("", " ", "  ", r"\*\*", "`")),
        head=rf"(?P<kept>{_SIGN[sign]}{_BOLD}{quote})(?![=$%<{{(\[])"
        rf"(?={plain}{{0,23}}(?:[0-9]|[{symbols}]{plain})){value}{{6}}",
        begun=rf"{_SIGN[sign]}(?:\*?\Z|{_BOLD}(?:\Z|{quote}{value}{{0,24}}+\Z))",
        **tail,
    )


def _scheme(sign: str) -> Form:
    """`Authorization: Basic …`: a scheme that stays, and 6 characters, with more than small letters after the first."""
    return _assignment(
        sign,
        f"(?ai:(?<=authorization{sign}))",
        head=r"(?P<kept>[ \t]{0,4}+[\"']?+(?ai:basic|digest|token|negotiate|apikey) {1,4}+)"
        rf"(?=[{_BASE64}]{{1,23}}[A-Z0-9+/=])[{_BASE64}]{{6}}",
        begun=rf"[ \t]{{0,4}}+[\"']?+[A-Za-z]{{0,9}}+(?:\Z| {{1,4}}+[{_BASE64}]{{0,24}}+\Z)",
        **_run(_BASE64),
    )


def exact(value: str) -> Form:
    """A value that is known for a secret, wherever it stands."""
    rest = [re.escape(character) for character in value[1:]]
    return Form(first=re.escape(value[0]), head="".join(rest), begun=_so_far(rest))


_END_BEGUN = _so_far(_units("----END "))
FORMS = (
    # OpenAI and those who write alike; told from words with hyphens ("sk-learn-…") by a digit, a kind or its length.
    Form(
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
    Form(  # JSON Web Token: the first part, a point, the beginning of the second
        first="e",
        head=rf"(?=y)(?<![{_KEY}]e)yJ[{_KEY}]{{5,512}}+\.[{_KEY}]{{5}}",
        begun=rf"(?<![{_KEY}]e){_so_far(['y', 'J'])}(?:[{_KEY}]{{0,512}}+\Z|[{_KEY}]{{5,512}}+\.[{_KEY}]{{0,4}}+\Z)",
        **_run("." + _KEY),
    ),
    _bearer("B"),
    _bearer("b"),
    *(_quoted(sign, '"', r'(?:[^"\\\n]|\\[^\n])') for sign in ":="),
    *(_quoted(sign, "'", r"(?:[^'\\\n]|\\[^\n])") for sign in ":="),
    *(_quoted(sign, (r"\\", '"'), r'[^"\\\n]') for sign in ":="),  # JSON within a JSON string
    *(_scheme(sign) for sign in ":="),
    *(_assigned(":", quote, "!@#$^%") for quote in ('"', "'", "`", "")),
    *(_assigned("=", quote, "!@#$^%-") for quote in ('"', "'", "`", "")),
    Form(  # scheme://user:password@host
        first=":",
        head=rf"(?P<kept>//){_USER}{{0,128}}+:{_AFTER_COLON}{{1,256}}+(?=@)",
        begun=rf"{_so_far(['/', '/'])}{_USER}{{0,128}}+(?:\Z|:{_AFTER_COLON}{{0,256}}+\Z)",
    ),
    Form(  # PEM; where its end never comes, up to the first character that a key does not have
        first="-",
        head=r"----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----",
        begun=rf"{_so_far(_units('----BEGIN '))}[A-Z0-9 ]{{0,49}}+-{{0,4}}+\Z",
        # Atomic groups: Python 3.11.2, which is Debian's, matches too much with a possessive repeat of a look-ahead.
        tail=rf"(?>(?:[{_PEM}]|-(?!----END ))*)(?>(?:-----END [A-Z0-9 ]{{0,49}}+-----)?)",
        tail_open=rf"(?>(?:[{_PEM}]|-(?!{_END_BEGUN}))*)(?P<held>(?>(?:-{_END_BEGUN}[A-Z0-9 ]{{0,49}}+-{{0,4}}+)?))\Z",
    ),
)
