"""What a file may be called, and of what type it is."""

import pytest

from netra_apex.core.files import check_taken, check_type, file_name, type_of
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


PNG = b"\x89PNG\r\n\x1a\n...."
JPEG = b"\xff\xd8\xff\xe0...."
PACKAGE = b"PK\x03\x04...."
SHEET = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.mark.parametrize(
    ("name", "head", "media_type"),
    [
        ("usage.csv", b"day,cost\n", "text/csv"),
        ("USAGE.CSV", "\ufefftag;kosten\n".encode(), "text/csv"),
        ("usage.csv", "day,cost".encode("utf-16"), "text/csv"),
        ("notes.md", "ä".encode() * 5 + "ä".encode()[:1], "text/markdown"),
        ("notes", b"just text", "text/plain"),
        ("notes.xyz", b"just text", "text/plain"),
        ("chart.png", PNG, "image/png"),
        ("chart", PNG, "image/png"),
        ("chart.png", JPEG, "image/jpeg"),
        ("a.webp", b"RIFF\n\x00\xff\x00WEBPVP8 ", "image/webp"),
        ("a.gif", b"GIF89a..", "image/gif"),
        ("a.pdf", b"%PDF-1.7", "application/pdf"),
        ("a.xlsx", PACKAGE, SHEET),
        ("a.zip", PACKAGE, "application/zip"),
        ("a.csv", PACKAGE, "application/zip"),
        ("a.gz", b"\x1f\x8b\x08", "application/gzip"),
        ("data.bin", b"\x00\x01\x02", "application/octet-stream"),
        ("data", b"\xff\xff", "application/octet-stream"),
    ],
)
def test_a_type_is_what_name_and_content_say_together(name: str, head: bytes, media_type: str) -> None:
    assert type_of(name, head) == media_type


@pytest.mark.parametrize(
    ("name", "head", "why"),
    [
        ("a.csv", PNG, "name says text/csv, and its content is image/png"),
        ("a.png", b"%PDF-1.7", "name says image/png, and its content is application/pdf"),
        ("a.png", b"<script>", "name says image/png, and its content does not begin like one"),
        ("a.xlsx", b"a,b", "and its content does not begin like one"),
        ("a.csv", b"a\x00b", "no text in UTF-8 or UTF-16"),
        ("a.json", b"\xe4\xf6", "no text in UTF-8 or UTF-16"),
    ],
)
def test_a_name_that_says_something_else_than_the_content_is_refused(name: str, head: bytes, why: str) -> None:
    with pytest.raises(Invalid, match=why):
        type_of(name, head)


def test_a_type_that_is_not_taken_is_refused_with_those_that_are() -> None:
    assert check_taken("text/csv", ("text/csv",)) == "text/csv"
    with pytest.raises(Invalid, match="text/html is not taken here, but: text/csv, image/png"):
        check_taken("text/html", ("text/csv", "image/png"))
