"""What a file may be called, and of what type it is: decided by its name and how it begins."""

import re
import unicodedata

from netra_apex.errors import Invalid

MAX_NAME = 200
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
