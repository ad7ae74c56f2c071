"""Posts: every text in one is a text, and a refusal names the field."""

import pytest

from netra_apex.core.conversations import MAX_CONTENT, MAX_FILES, MAX_KEY, Post, check_post, check_text
from netra_apex.core.messages import AssistantMessage, UserMessage
from netra_apex.errors import Invalid

FIELDS = ("content", "thread_id", "agent", "replace", "idempotency_key")


@pytest.mark.parametrize("text", ["hi", " hi ", "a\nb\t", "😀", "x" * 10])
def test_a_text_comes_back_unchanged(text: str) -> None:
    assert check_text("content", text, limit=10) == text


def test_a_post_with_all_its_fields_comes_back_unchanged() -> None:
    post = Post(
        content="x" * MAX_CONTENT,
        thread_id="t",
        agent="a",
        replace="m",
        if_busy="reject",
        idempotency_key="k" * MAX_KEY,
    )
    assert check_post(post) is post
    assert check_post(Post(content="hi"))


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    ("text", "sentence"),
    [("", "empty"), (" \n", "empty"), ("a\x00b", "NUL"), ("a\ud800", "surrogate"), ("\udfff", "surrogate")],
)
def test_what_is_no_text_is_refused_and_the_field_named(field: str, text: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=f"^{field} .*{sentence}"):
        check_post(Post(**{"content": "hi"} | {field: text}))


@pytest.mark.parametrize(("field", "limit"), [("content", MAX_CONTENT), *((name, MAX_KEY) for name in FIELDS[1:])])
def test_a_text_over_its_limit_is_refused_with_both_numbers(field: str, limit: int) -> None:
    with pytest.raises(Invalid, match=f"^{field} has {limit + 1} characters; {limit} is the most"):
        check_post(Post(**{"content": "hi"} | {field: "x" * (limit + 1)}))


def test_files_are_a_threads_and_not_too_many_and_each_id_is_a_text() -> None:
    assert check_post(Post(content="hi", thread_id="t", files=("f",) * MAX_FILES))
    with pytest.raises(Invalid, match="files are a thread's: thread_id is missing"):
        check_post(Post(content="hi", files=("f",)))
    with pytest.raises(Invalid, match="files has 21; 20 is the most"):
        check_post(Post(content="hi", thread_id="t", files=("f",) * 21))
    with pytest.raises(Invalid, match="a file's id has a character that is no text"):
        check_post(Post(content="hi", thread_id="t", files=("a\x00b",)))


def test_a_message_can_only_be_replaced_in_its_thread() -> None:
    with pytest.raises(Invalid, match="thread_id is missing"):
        check_post(Post(content="hi", replace="msg_a"))


def test_what_was_said_before_begins_a_thread_and_is_never_put_into_one() -> None:
    before = (UserMessage("I am Ada"), AssistantMessage("hello"))
    assert check_post(Post(content="hi", before=before))
    with pytest.raises(Invalid, match="begins a new thread"):
        check_post(Post(content="hi", before=before, thread_id="t"))
