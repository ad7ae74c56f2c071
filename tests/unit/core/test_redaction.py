"""Secrets go, words stay, and a text in pieces is redacted as the whole is."""

import itertools
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netra_apex.core.redaction import MAX_DEPTH, RedactingStream, Redactor

CONFIGURED = ("configured-secret-value", "configured-secret", 'odd "quoted"\nsecret', "aabaabaab")
REDACTOR = Redactor(CONFIGURED)
PEM = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEow/+=\n  abcd\n-----END RSA PRIVATE KEY-----"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl-_"

SECRETS = [
    "sk-abcdefghijklmnopqrstuvwxyz012345",
    "sk-abcdefghijklmnopqrstuvwx",
    "sk-proj-abc_def-ghi_jkl-mno",
    "sk-ant-api03-abc-def_ghijklmnop",
    "AKIAIOSFODNN7EXAMPLE",
    "ASIAIOSFODNN7EXAMPLE",
    *(f"gh{kind}_abcdefghijklmnopqrstuvwxyz0123456789" for kind in "posur"),
    "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz",
    "xoxb-123456789012-1234567890123-abcdefghijkl",
    "AIzaSyA-1234567890abcdefghijklmnopqrstu",
    "glpat-abcdefghij_klmnop-12",
    "hf_abcdefghijklmnopqrstuvwxyz",
    "gsk_abcdefghijklmnopqrstuvwxyz",
    "sk_live_abcdefghijklmnopqrstuvwx",
    "rk_live_abcdefghijklmnopqrstuvwx",
    JWT,
    PEM,
    PEM.replace("RSA ", ""),
    PEM.replace("\n", "\\n"),
    *CONFIGURED,
]
WORDS = [
    "sky",
    "sk-",
    "ask-me",
    "task-oriented-programming-language",
    "sk-learn and sk-learn-contrib",
    "risk-averse-decision-making-under-uncertainty",
    "hf_hub_download",
    "ghp_",
    "github_pattern",
    "eyJ.eyJ.x",
    "Bearer authentication",
    "the bearer of this letter",
    "https://example.org:8080/path?a=b",
    "https://example.org/@ada:notes",
    "mailto:ada@example.org",
    "12:30: a note: see http://a.b",
    "----------",
    "-----BEGIN CERTIFICATE-----",
    "AKIA",
    "xoxo",
    "well-known — naïve — 日本語 🎉",
    "password",
    "the password is wrong; tokens are cheap, and a secret = a promise",
    "token: int, password: str = None",
    "password: ",
    "Password: please!",
    "password: case-sensitive",
    "Authorization: Basic authentication",
    "Basic authentication",
    "token = tokens[0]; token = get_token(); token == other1x",
    "password=$DB_PASS1",
    "next_page_token=abc12345",
    "max_tokens=131072",
    "`token`: `int`",
]


def streamed(redactor: Redactor, pieces: Sequence[str]) -> str:
    stream = RedactingStream(redactor)
    return "".join([*(stream.feed(piece) for piece in pieces), stream.end()])


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(("before", "after"), [("", ""), ("it is ", " indeed"), ('{"k":"', '"}'), ("é", "、")])
def test_a_secret_is_redacted_wherever_it_stands(secret: str, before: str, after: str) -> None:
    assert REDACTOR.text(f"{before}{secret}{after}") == f"{before}[redacted]{after}"


@pytest.mark.parametrize("words", WORDS)
def test_words_stay(words: str) -> None:
    assert REDACTOR.text(words) == words
    assert REDACTOR.text(f"a {words} b {words}") == f"a {words} b {words}"
    assert streamed(REDACTOR, list(words)) == words


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abcdef012345", "Authorization: Bearer [redacted]"),
        ("bearer  abcdefghijklmnopqrstuvwxyz.", "bearer  [redacted]"),
        (f"Bearer {JWT}", "Bearer [redacted]"),
        ("postgres://ada:pa:ss@db/x and redis://:pass@r", "postgres://[redacted]@db/x and redis://[redacted]@r"),
        (f"{PEM}\nHello, all.", "[redacted]\nHello, all."),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow\n`and more`", "[redacted]`and more`"),
        ("-----BEGIN PRIVATE KEY-----MII-----END", "[redacted]"),
        ("configured-secret-values", "[redacted]s"),
        ("configured-secretive", "[redacted]ive"),
        ("configured-secrconfigured-secret", "configured-secr[redacted]"),
        ("token=ghp_abcdefghijklmnopqrst&x=1", "token=[redacted]&x=1"),
        ("Bearer abcdefgh$configured-secret$", "Bearer abcdefgh$[redacted]$"),
        ("Bearer abcdefghijklmnop-configured-secret!", "Bearer [redacted][redacted]!"),
        ("AUTHORIZATION: BEARER abcdef012345", "AUTHORIZATION: BEARER [redacted]"),
        ("Authorization: Basic dXNlcjpwYXNz and", "Authorization: Basic [redacted] and"),
        ('-H "authorization: basic  dXNlcjpwYXNz"', '-H "authorization: basic  [redacted]"'),
        ("Authorization: abc123def456", "Authorization: [redacted]"),
        ("DB_PASSWORD=hunter2 PORT=1", "DB_PASSWORD=[redacted] PORT=1"),
        ("password: hunter2, name: ada", "password: [redacted], name: ada"),
        ("**Password:** hunter2", "**Password:** [redacted]"),
        ("**Password**: hunter2", "**Password**: [redacted]"),
        ("`password`: `hunter2x`", "`password`: `[redacted]`"),
        ("pwd=p@ssword; secret = abc-123", "pwd=[redacted]; secret = [redacted]"),
        ("/path?token=abc123&api_key=x-y-z-w&b=1", "/path?token=[redacted]&api_key=[redacted]&b=1"),
        ("api-key=correct-horse", "api-key=[redacted]"),
        ('password = "correct horse 9"', 'password = "[redacted]"'),
        ("password := 'hunter2x'", "password := '[redacted]'"),
        ("secret=aB3(x9$k", "secret=[redacted]"),
        ('{"password":"hunter2-hunter2",}', '{"password":"[redacted]",}'),
        ('{"password" : "a\\"b", "x": "y",}', '{"password" : "[redacted]", "x": "y",}'),
        ("{'api_key': 'hunter', 'a': 1}", "{'api_key': '[redacted]', 'a': 1}"),
        (r"{\"secret\":\"abc\",\"x\":1}", r"{\"secret\":\"[redacted]\",\"x\":1}"),
        ("'password' => 'abc'", "'password' => '[redacted]'"),
        ('"password": "a\\', '"password": "[redacted]\\'),
    ],
)
def test_what_is_no_secret_around_one_stays(text: str, redacted: str) -> None:
    assert REDACTOR.text(text) == redacted
    assert streamed(REDACTOR, list(text)) == redacted


def test_a_configured_value_is_redacted_in_the_middle_of_a_word_and_a_short_one_is_left() -> None:
    redactor = Redactor(["hunter2hunter2", "short"])
    assert redactor.text("xhunter2hunter2x short") == "x[redacted]x short"


ASSIGNED = [
    *(
        "password",
        "Token",
        "api_key",
        "Authorization",
        "next_page_token",
        '"password"',
        "'secret'",
        r"\"secret\"",
        "`pwd`",
    ),
    *(
        "=",
        ": ",
        " = ",
        ":=",
        "=>",
        ":** ",
        "  =",
        '"',
        "'",
        "`",
        "\\",
        "hunter2",
        "p@ss-word",
        "Basic ",
        "dXNlcjpwYXNz",
    ),
    *("x" * 23, "x" * 24, "x" * 25, "x" * 22 + "!", "(", ",", "&", "\n", " "),
]


def piece_of(text: str) -> st.SearchStrategy[str]:
    return st.integers(0, len(text)).map(lambda end: text[:end])


fragment = st.one_of(
    st.sampled_from(SECRETS),
    st.sampled_from(SECRETS).flatmap(piece_of),
    st.sampled_from(WORDS),
    st.sampled_from(ASSIGNED),
    st.sampled_from(["Bearer ", "bearer ", "://", "ada:pass@", ":", "@", "-----END ", "-----", "-", "sk-", "eyJ", "."]),
    st.text("sk-_eyJ.:/@Bar gAIKh\n019", max_size=12),
    st.text(max_size=3),
)
texts = st.lists(fragment, max_size=8).map("".join)


@settings(max_examples=1500, deadline=None)
@given(texts, st.lists(st.integers(1, 12), min_size=1, max_size=6))
@example(PEM + "x", [1])
def test_for_every_cutting_the_pieces_make_the_redacted_whole(text: str, sizes: list[int]) -> None:
    pieces: list[str] = []
    rest = text
    for size in itertools.cycle(sizes):
        if not rest:
            break
        pieces.append(rest[:size])
        rest = rest[size:]
    assert streamed(REDACTOR, pieces) == REDACTOR.text(text)


@settings(max_examples=300, deadline=None)
@given(texts)
def test_no_configured_value_is_left_in_any_text(text: str) -> None:
    assert not any(secret in REDACTOR.text(text) for secret in CONFIGURED)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_in_pieces_is_never_shown_in_part(secret: str) -> None:
    stream = RedactingStream(REDACTOR)
    shown = stream.feed("it is ")
    for character in secret:
        shown += stream.feed(character)
        assert shown in ("it is ", "it is [redacted]")
    assert shown + stream.end() == "it is [redacted]"


def test_prose_passes_at_once() -> None:
    stream = RedactingStream(Redactor())
    for token in (
        "The",
        " password",
        " is",
        " secret",
        "; a",
        " token",
        ", an",
        " API",
        " key",
        " quick",
        " ask",
        " task",
        "-orien",
        "ted",
        " hello",
        ", ",
        "great",
        ".",
        " é🎉",
        "\n",
    ):
        assert stream.feed(token) == token
    assert stream.end() == ""


def test_only_what_may_yet_become_a_secret_is_held_back() -> None:
    stream = RedactingStream(Redactor())
    assert stream.feed("the s") == "the "
    assert stream.feed("ky is blue and g") == "sky is blue and "
    assert stream.feed("old; sk-") == "gold; "
    assert stream.feed("learn") == ""
    assert stream.feed(" works; see https://exam") == "sk-learn works; see https"
    assert stream.feed("ple.org/") == "://example.org/"
    assert stream.feed("ghp_abcdefghijklmnop") == "[redacted]"
    assert stream.feed("qrstuvwxyz0123456789") == ""
    assert stream.feed("; done") == "; done"
    assert stream.feed("; password") == "; password"
    assert stream.feed(": ") == ""
    assert stream.feed("sent") == ""
    assert stream.feed(" by mail, token=") == ": sent by mail, token"
    assert stream.feed("abc12") == ""
    assert stream.feed("3") == "=[redacted]"
    assert stream.feed('4 and "token":"') == ' and "token"'
    assert stream.feed("x") == ':"[redacted]'
    assert stream.feed('"') == '"'
    assert stream.end() == ""


def test_what_is_held_back_is_given_at_the_end() -> None:
    stream = RedactingStream(Redactor())
    assert stream.feed("a sk-abc") == "a "
    assert stream.feed("") == ""
    assert stream.end() == "sk-abc"
    assert stream.end() == ""


@pytest.mark.parametrize(
    "key",
    [
        *("password", "Passwd", "secret", "token", "api_key", "apikey", "API-Key", "Authorization", "access_token"),
        *("refreshToken", "client_secret", "private-key", "openai_api_key", "DB_PASSWORD", "set-cookie", "x-api-key"),
    ],
)
@pytest.mark.parametrize("value", ["hunter2", 12345, ["a"], {"a": "b"}])
def test_what_stands_under_a_key_named_like_a_secret_is_redacted(key: str, value: Any) -> None:
    assert REDACTOR.value({"a": [{key: value}], key: value}) == {"a": [{key: "[redacted]"}], key: "[redacted]"}


@pytest.mark.parametrize("key", ["passwords", "authorization_header", "access_tokens", "secrets"])
@pytest.mark.parametrize("value", ["hunter2", 12345, ["a"]])
def test_plural_names_of_secrets_count_too(key: str, value: Any) -> None:
    assert REDACTOR.value({key: value}) == {key: "[redacted]"}


@pytest.mark.parametrize("key", ["tokens", "pass", "Pass", "db_pass", "smtp-pass"])
def test_names_that_also_count_things_are_secret_where_they_hold_text(key: str) -> None:
    assert REDACTOR.value([{key: "hunter2"}, {key: ["abc", 1]}]) == [{key: "[redacted]"}, {key: "[redacted]"}]
    for harmless in (12, [1, 2], {"input": 5}, None, True):
        assert REDACTOR.value({key: harmless}) == {key: harmless}
    assert REDACTOR.value({"bypass": "x", "compass": "north"}) == {"bypass": "x", "compass": "north"}


def test_a_json_text_that_is_broken_is_redacted_by_its_keys_too() -> None:
    assert REDACTOR.json('{"password":"hunter2-hunter2",}') == '{"password":"[redacted]",}'


def test_a_json_value_keeps_its_shape() -> None:
    value = {
        "text": "key sk-abcdefghijklmnopqrstuvwx!",
        "list": ["configured-secret", 1, 2.5, None, True],
        "pair": ("a", "configured-secret"),
        "input_tokens": 12,
        "next_page_token": "abc",
        "password": None,
        "needs_token": False,
        "aabaabaab": 1,
    }
    assert REDACTOR.value(value) == {
        "text": "key [redacted]!",
        "list": ["[redacted]", 1, 2.5, None, True],
        "pair": ("a", "[redacted]"),
        "input_tokens": 12,
        "next_page_token": "abc",
        "password": None,
        "needs_token": False,
        "[redacted]": 1,
    }
    assert value["pair"] == ("a", "configured-secret")
    assert [REDACTOR.value(one) for one in (None, 5, "configured-secret")] == [None, 5, "[redacted]"]


def test_what_is_nested_too_deep_to_look_at_is_redacted_unseen() -> None:
    value: Any = "configured-secret"
    for _ in range(MAX_DEPTH * 4):
        value = [value]
    redacted = REDACTOR.value(value)
    for _ in range(MAX_DEPTH):
        redacted = redacted[0]
    assert redacted == "[redacted]"


def test_a_text_that_is_json_is_redacted_by_its_keys_too() -> None:
    assert REDACTOR.json('{"password":"hunter2", "a":[1]}') == '{"password":"[redacted]","a":[1]}'
    assert REDACTOR.json('{"a": 1}') == '{"a": 1}'
    assert REDACTOR.json('{"a":"configured-secret","a":1}') == '{"a":"[redacted]","a":1}'
    for text in ("configured-secret", '"configured-secret"', "{ configured-secret", "[" * 5000 + "configured-secret"):
        assert REDACTOR.json(text) == text.replace("configured-secret", "[redacted]")


ADVERSARIAL = {
    "a prefix again and again": "sk-" * 90_000,
    "a token without end": "ghp_" + "a" * 250_000,
    "a first part without a point": "eyJ" + "a" * 250_000,
    "many first parts": ("eyJ" + "a" * 500 + " ") * 500,
    "hyphens": "-" * 250_000,
    "a key that never ends": "-----BEGIN PRIVATE KEY-----" + "a" * 250_000,
    "ends without a key": "-----BEGIN PRIVATE KEY-----" + "-----END " * 25_000,
    "names without a password": ("://" + "a" * 127 + ":" + "b" * 250 + " ") * 650,
    "blanks": "Bearer" + " " * 250_000,
    "beginnings of a configured value": "aaba" * 62_500,
    "names without a value": "password=" * 28_000,
    "names with blanks": "password:    " * 20_000,
    "values that never tell": "password: " + "x" * 250_000,
    "a value in quotes without end": '"password": "' + "x" * 250_000,
    "backslashes in a value": '"password": "' + "\\" * 250_000,
    "signs": "=:" * 125_000,
    "signs after quotes": '":"=' * 62_500,
}


@pytest.mark.parametrize("text", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
def test_a_long_text_takes_time_in_proportion_to_its_length(text: str) -> None:
    def taken(text: str) -> float:
        best = 60.0
        for _ in range(2):
            began = time.process_time()
            streamed(REDACTOR, [text[start : start + 6] for start in range(0, len(text), 6)])
            REDACTOR.text(text)
            best = min(best, time.process_time() - began)
        return best

    quarter, whole = taken(text[: len(text) // 4]), taken(text)
    # In proportion: 4. Quadratic: 16.
    assert whole < 9 * quarter + 0.1
