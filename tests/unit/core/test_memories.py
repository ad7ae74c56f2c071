"""What is remembered is found by its words, and the most fitting comes first."""

from hypothesis import given
from hypothesis import strategies as st

from netra_apex.core.memories import WORD_LENGTH, WORDS_ASKED, Hit, asked_words, ranked, words_of


def test_case_accents_and_plurals_make_no_difference() -> None:
    assert words_of("Crème BRÛLÉE") == words_of("creme brulee") == ("creme", "brulee")
    assert words_of("colours, stories; glass") == ("colour", "story", "glass")
    assert words_of("ﬁne Straße") == ("fine", "strasse")
    assert words_of("is bus ties") == ("is", "bus", "tie")


def test_writing_without_spaces_is_found_by_two_signs_that_follow_one_another() -> None:
    assert words_of("東京都") == ("東京", "京都")
    assert words_of("犬") == ("犬",)
    assert words_of("Python入門書2版") == ("python", "入門", "門書", "2", "版")


@given(st.text())
def test_any_text_has_words_of_a_length_that_can_be_stored(text: str) -> None:
    for word in words_of(text):
        assert 0 < len(word) <= WORD_LENGTH
        assert word.isprintable()
        word.encode()


def test_a_very_long_word_is_cut_in_text_and_query_alike() -> None:
    assert words_of("x" * 10_000) == asked_words("x" * 10_000) == ("x" * WORD_LENGTH,)


def test_a_query_has_each_word_once_and_not_too_many() -> None:
    assert asked_words("tea Tea TEAS green") == ("tea", "green")
    assert len(asked_words(" ".join(f"w{n}" for n in range(1000)))) == WORDS_ASKED
    assert asked_words('"* OR -(') == ("or",)


def test_a_rare_word_weighs_more_than_a_frequent_one() -> None:
    frequent = [Hit(f"mem_{n}", 1, 5) for n in range(50)]
    rare = [Hit("mem_x", 1, 5)]
    assert ranked([frequent, rare], 100, 500)[0] == "mem_x"


def test_more_words_of_the_query_weigh_more_and_length_weighs_less() -> None:
    assert ranked([[Hit("a", 1, 5), Hit("b", 1, 5)], [Hit("a", 1, 5)]], 10, 50) == ("a", "b")
    assert ranked([[Hit("long", 1, 500), Hit("short", 1, 5)]], 10, 600) == ("short", "long")
    assert ranked([[Hit("once", 1, 10), Hit("often", 3, 10)]], 10, 100) == ("often", "once")


def test_of_equals_the_latest_comes_first() -> None:
    assert ranked([[Hit("mem_1", 1, 5), Hit("mem_3", 1, 5), Hit("mem_2", 1, 5)]], 3, 15) == ("mem_3", "mem_2", "mem_1")


def test_nothing_found_is_nothing_ranked() -> None:
    assert ranked([], 0, 0) == ()
    assert ranked([[]], 0, 0) == ()
    # A row that came between the two looks is no more than one that counts.
    assert ranked([[Hit("a", 1, 1), Hit("b", 1, 1)]], 1, 1) == ("b", "a")
