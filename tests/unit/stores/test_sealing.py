"""What is sealed opens for its own place and secret alone, and nobody who has the bytes can read or change it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netra_apex.errors import StoreError
from netra_apex.stores.sealing import Seal

PLACE = ("ada", "run_1", "f1.2")
UNREADABLE = "a step of the journal cannot be read: NETRA_SECRET_KEY has changed"


def test_a_sealed_value_opens_at_its_place() -> None:
    seal = Seal("secret")
    assert seal.open(seal.close(b"the door code is 4711", *PLACE), *PLACE) == b"the door code is 4711"


def test_another_process_with_the_same_secret_opens_it() -> None:
    assert Seal("secret").open(Seal("secret").close(b"value", *PLACE), *PLACE) == b"value"


@given(plain=st.binary(), secret=st.text(min_size=1), place=st.tuples(st.text(), st.text(), st.text()))
def test_any_bytes_come_back_whole(plain: bytes, secret: str, place: tuple[str, str, str]) -> None:
    seal = Seal(secret)
    assert seal.open(seal.close(plain, *place), *place) == plain


@pytest.mark.parametrize(
    "place",
    [
        ("bob", "run_1", "f1.2"),
        ("ada", "run_2", "f1.2"),
        ("ada", "run_1", "f1.3"),
        ("ada", "run_1"),
        ("adarun_1", "f1.2"),
        ("ada", "run_1f1.2"),
        ("run_1", "ada", "f1.2"),
        (),
    ],
)
def test_what_was_sealed_for_one_place_does_not_open_at_another(place: tuple[str, ...]) -> None:
    seal = Seal("secret")
    with pytest.raises(StoreError, match=UNREADABLE):
        seal.open(seal.close(b"value", *PLACE), *place)


@pytest.mark.parametrize("other", ["secret ", "Secret", "another", ""])
def test_another_secret_opens_nothing(other: str) -> None:
    sealed = Seal("secret").close(b"value", *PLACE)
    with pytest.raises(StoreError, match=UNREADABLE):
        Seal(other).open(sealed, *PLACE)


def test_no_byte_of_it_can_be_changed() -> None:
    seal = Seal("secret")
    sealed = seal.close(b"value", *PLACE)
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(StoreError, match=UNREADABLE):
            seal.open(bytes(changed), *PLACE)
    with pytest.raises(StoreError, match=UNREADABLE):
        seal.open(sealed[:-1], *PLACE)


def test_neither_the_value_nor_that_two_are_the_same_can_be_seen() -> None:
    seal = Seal("secret")
    plain = b"the door code is 4711"
    made = {seal.close(plain, *PLACE) for _ in range(1000)}
    assert len(made) == 1000, "each has a nonce of its own"
    assert len({sealed[:12] for sealed in made}) == 1000
    assert not any(plain[at : at + 4] in sealed for sealed in made for at in range(len(plain) - 3))
