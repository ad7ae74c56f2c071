"""What a file may be called, and of what type it is: decided by its name and how it begins."""

import codecs
import re
import unicodedata
from collections.abc import Sequence
from types import MappingProxyType

from netra_apex.core.messages import IMAGES
from netra_apex.errors import Invalid

MAX_NAME = 200
HEAD_BYTES = 8192  # of a file's beginning, by which its type is decided
UNKNOWN = "application/octet-stream"
_OFFICE = "application/vnd.openxmlformats-officedocument"
_SIGNATURES = MappingProxyType(
    {
        "image/png": rb"\x89PNG\r\n\x1a\n",
        "image/jpeg": rb"\xff\xd8\xff",
        "image/webp": rb"RIFF....WEBP",
        "image/gif": rb"GIF8[79]a",
        "application/pdf": rb"%PDF-",
        "application/vnd.apache.parquet": rb"PAR1",
        "application/zip": rb"PK\x03\x04",
        "application/gzip": rb"\x1f\x8b",
    }
)
_CONTAINERS = ("application/zip",)
_PACKED = (f"{_OFFICE}.spreadsheetml.sheet", f"{_OFFICE}.wordprocessingml.document")
_BY_ENDING = MappingProxyType(
    {
        "csv": "text/csv",
        "docx": f"{_OFFICE}.wordprocessingml.document",
        "gif": "image/gif",
        "gz": "application/gzip",
        "htm": "text/html",
        "html": "text/html",
        "jpeg": "image/jpeg",
        "jpg": "image/jpeg",
        "json": "application/json",
        "jsonl": "application/x-ndjson",
        "log": "text/plain",
        "markdown": "text/markdown",
        "md": "text/markdown",
        "ndjson": "application/x-ndjson",
        "parquet": "application/vnd.apache.parquet",
        "pdf": "application/pdf",
        "png": "image/png",
        "svg": "image/svg+xml",
        "tsv": "text/tab-separated-values",
        "txt": "text/plain",
        "webp": "image/webp",
        "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
        "xml": "application/xml",
        "yaml": "application/yaml",
        "yml": "application/yaml",
        "zip": "application/zip",
    }
)
_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,63}/[a-z0-9][a-z0-9!#$&^_.+-]{0,127}")


def file_name(said: str) -> str:
    """The name that a file is kept by: the last part of a path, without what is no plain character.

    Raises:
        Invalid: nothing is left of it, or it is too long.
    """
    last = re.split(r"[/\\]", said)[-1]
    # Control characters, halves of surrogate pairs, and those that turn the direction of writing.
    plain = "".join(char for char in last if unicodedata.category(char)[0] != "C")
    name = unicodedata.normalize("NFC", plain).strip()
    if not name.strip("."):
        raise Invalid("the file has no name")
    if len(name) > MAX_NAME:
        raise Invalid(f"the file's name has {len(name)} characters; {MAX_NAME} is the most")
    return name


def check_type(media_type: str) -> str:
    """The media type, if it is one, such as `text/csv`.

    Raises:
        Invalid: it is none.
    """
    if not _TYPE.fullmatch(media_type):
        raise Invalid(f"{media_type[:100]!r} is no media type, such as text/csv")
    return media_type


def type_of(name: str, head: bytes) -> str:
    """The media type of a file of this name that begins so: neither alone is believed.

    `head` is its first `HEAD_BYTES`, or all of it.

    Raises:
        Invalid: the name says one thing and the content another.
    """
    named = _BY_ENDING.get(name.rpartition(".")[2].lower()) if "." in name else None
    seen = next((each for each, begins in _SIGNATURES.items() if re.match(begins, head, re.DOTALL)), None)
    if seen in _CONTAINERS:
        # What is in a package is not looked into: it is the package that its name says.
        return named if named in _PACKED else seen
    if seen is not None:
        # One kind of image under the name of another is everywhere, and what it is is seen.
        if named not in (None, seen) and {named, seen} - set(IMAGES):
            raise Invalid(f"the file's name says {named}, and its content is {seen}")
        return seen
    if named in _SIGNATURES or named in _PACKED:
        raise Invalid(f"the file's name says {named}, and its content does not begin like one")
    if _is_text(head):
        return named or "text/plain"
    if named is not None:
        raise Invalid(f"the file's name says {named}, and its content is no text in UTF-8 or UTF-16")
    return UNKNOWN


def check_taken(media_type: str, taken: Sequence[str]) -> str:
    """The media type, if it is one of those.

    Raises:
        Invalid: it is not.
    """
    if media_type not in taken:
        raise Invalid(f"a file of type {media_type} is not taken here, but: {', '.join(taken)}")
    return media_type


def _is_text(head: bytes) -> bool:
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    try:
        # Not the end of the text: it may be in the middle of a character.
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        return False
    return "\x00" not in text
