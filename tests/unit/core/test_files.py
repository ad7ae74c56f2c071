"""What a file may be called, and of what type it is."""

import pytest

from netra_apex.core.files import check_type, file_name
from netra_apex.errors import Invalid


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("usage.csv", "usage.csv"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ada\\usage.csv", "usage.csv"),
        ("a\x00b\r\n.csv", "ab.csv"),
        ("\u202egpj.exe", "gpj.exe"),
        ("\ud800.csv", ".csv"),
        ("  Ubersicht.csv ", "Ubersicht.csv"),
        ("U\u0308bersicht.csv", "\u00dcbersicht.csv"),
        ("名前.csv", "名前.csv"),
    ],
)
def test_a_name_is_the_last_part_of_a_path_in_plain_characters(said: str, kept: str) -> None:
    assert file_name(said) == kept


@pytest.mark.parametrize("said", ["", " ", ".", "..", "a/", "a/..", "\x00\x01", "\u202e"])
def test_a_name_of_which_nothing_is_left_is_none(said: str) -> None:
    with pytest.raises(Invalid, match="the file has no name"):
        file_name(said)


def test_a_name_that_is_too_long_is_refused() -> None:
    assert file_name("x" * 200) == "x" * 200
    with pytest.raises(Invalid, match="201 characters; 200 is the most"):
        file_name("x" * 201)


@pytest.mark.parametrize("media_type", ["text/csv", "application/vnd.oasis.opendocument.text", "image/svg+xml"])
def test_a_media_type_is_one(media_type: str) -> None:
    assert check_type(media_type) == media_type


@pytest.mark.parametrize("media_type", ["", "csv", "text/", "/csv", "text/csv; charset=x", "Text/CSV", "a/b\r\nX: y"])
def test_what_is_no_media_type_is_refused(media_type: str) -> None:
    with pytest.raises(Invalid, match="is no media type, such as text/csv"):
        check_type(media_type)
