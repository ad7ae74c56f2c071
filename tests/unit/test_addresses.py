"""Addresses of Postgres databases: read as the driver reads them, and shown without what is secret."""

import pytest

from netra_apex.addresses import PostgresAddress
from netra_apex.errors import ConfigurationError
from netra_apex.settings import Settings

WORD = "hunter2hunter2"


@pytest.mark.parametrize(
    ("url", "shown", "user", "password"),
    [
        (f"postgresql://ada:{WORD}@db.example:5433/netra", "ada@db.example:5433/netra", "ada", WORD),
        ("postgres://db/netra", "db/netra", None, None),
        ("postgresql://a%40b:p%40s%2F%25@h/n%20m", "a@b@h/n m", "a@b", "p@s/%"),
        (
            f"postgresql:///netra?host=/run/postgresql&user=ada&password={WORD}",
            "ada@/run/postgresql/netra",
            "ada",
            WORD,
        ),
        ("postgresql:///netra", "localhost/netra", None, None),
        ("postgresql://ada@[::1]:5432/netra?sslmode=require", "ada@[::1]:5432/netra", "ada", None),
        ("postgresql://ada@one:1,two:2/netra", "ada@one:1,two:2/netra", "ada", None),
        ("postgresql://ada@%2Frun%2Fpostgresql/netra", "ada@/run/postgresql/netra", "ada", None),
        ("postgresql://h?dbname=netra", "h/netra", None, None),
    ],
)
def test_an_address_is_taken_apart_and_shown_without_its_password(
    url: str, shown: str, user: str | None, password: str | None
) -> None:
    read = PostgresAddress.read(url)
    assert (str(read), read.user, read.password) == (shown, user, password)
    assert read.secrets == (() if password is None else (password,))
    assert password is None or password not in repr(read)
    settings = Settings(database_url=url)
    assert set(read.secrets) <= set(settings.own_secrets())
    assert WORD not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        *(f"postgresql://ada:{WORD}{end}more@host/netra" for end in "@#/?[]"),
        f"postgresql://ada:{WORD}",
        f"postgresql://ada:{WORD}/netra",
        f"postgresql://ada:1/{WORD}@host/netra",
        f"postgresql://ada:{WORD}\u2100@host/netra",
        f"postgresql://ada:{WORD}@host:port/netra",
        f"postgresql://ada:{WORD}@host:123456/netra",
        f"postgresql://ada:{WORD}@[::1/netra",
        f"postgresql://ada:{WORD}@host/",
        f"postgresql://ada:{WORD}@host/netra?{WORD}",
        f"postgresql://ada:{WORD}%00@host/netra",
        f"postgresql://{'a' * 64}:{WORD}@host/netra",
        f"mysql://ada:{WORD}@host/netra",
    ],
)
def test_what_is_no_address_is_refused_with_nothing_of_it_in_the_sentence(url: str) -> None:
    with pytest.raises(ValueError, match=r"write postgresql://|longer than 63|NUL character") as refused:
        PostgresAddress.read(url)
    with pytest.raises(ConfigurationError) as unset:
        Settings.load(database_url=url)
    for part in (WORD, "more", "port/"):
        assert part not in str(refused.value)
    assert WORD not in str(unset.value)


def test_a_second_password_is_secret_too() -> None:
    assert PostgresAddress.read("postgresql://h/n?sslpassword=aSecondOne").secrets == ("aSecondOne",)
