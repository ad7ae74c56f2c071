"""The address of a Postgres database: whether it is one, what of it is secret, and how it may be shown."""

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

SCHEMES = ("postgresql://", "postgres://")
SPELLED = "postgresql://USER:PASSWORD@HOST:PORT/NAME"
LONGEST_NAME = 63  # bytes of a name in Postgres, which cuts off what is longer
_HOST = re.compile(r"(\[[^\[\]@/]+\]|[^\[\]:@/]*)(:\d{1,5})?")
_SECRETS = ("password", "sslpassword")  # of the part behind the question mark


@dataclass(frozen=True, slots=True)
class PostgresAddress:
    """An address, taken apart as the driver does it. As text it is without passwords.

    `hosts` may be several, separated by commas, or a folder of the server's socket; None: the driver looks for one.
    """

    url: str = field(repr=False)
    user: str | None
    password: str | None = field(repr=False)
    hosts: str | None
    database: str
    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def read(cls, url: str) -> Self:
        """Takes it apart.

        Raises:
            ValueError: it is no such address. The sentence has nothing of it: any part may be one of a password with
                a character in it that ends a password.
        """
        if not url.startswith(SCHEMES):
            raise ValueError(f"write {SPELLED}")
        try:
            parts = urlsplit(url)
            query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        except ValueError:
            raise ValueError(_misspelled()) from None
        login, _, hosts = parts.netloc.rpartition("@")
        # As the driver reads it, a name or password ends at the first of these.
        if "@" in login or "@" in parts.path or "#" in url or not all(map(_HOST.fullmatch, hosts.split(","))):
            raise ValueError(_misspelled())
        given = {name: values[-1] for name, values in query.items()}
        name, _, word = login.partition(":")
        database = unquote(parts.path.removeprefix("/")) or given.get("dbname") or given.get("database")
        if not database:
            raise ValueError(f"it names no database: write {SPELLED}")
        found = [unquote(word), *(given.get(each, "") for each in _SECRETS)]
        read = cls(
            url=url,
            user=unquote(name) or given.get("user"),
            password=found[0] or given.get("password"),
            hosts=unquote(hosts) or given.get("host"),
            database=database,
            secrets=tuple(each for each in found if each),
        )
        read.check()
        return read

    def check(self) -> None:
        """Raises: ValueError: there is in it what no server takes."""
        for text in (self.user, self.password, self.database):
            if text is not None and "\0" in text:
                raise ValueError("there is a NUL character in it")
        for text in (self.user, self.database):
            if text is not None and len(text.encode()) > LONGEST_NAME:
                raise ValueError(f"a name in it is longer than {LONGEST_NAME} bytes, which is Postgres's limit")

    def __str__(self) -> str:
        login = "" if self.user is None else f"{self.user}@"
        return f"{login}{self.hosts or 'localhost'}/{self.database}"


def _misspelled() -> str:
    return f"it is no address: write {SPELLED}, and in a name or password %40 for @, %3A :, %2F /, %3F ?, %23 #, %25 %"
