"""One suite for both databases: what the stores promise is asked of each of them."""

from collections.abc import Iterator

import pytest

CONFORMING = (
    "test_accounts",
    "test_administration",
    "test_approvals",
    "test_budgets",
    "test_conversations",
    "test_files",
    "test_interrupting",
    "test_journal_rows",
    "test_memories",
    "test_named_threads",
    "test_pruning",
    "test_questions",
    "test_runs",
    "test_service",
    "test_turns",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each test of these modules on both."""
    if metafunc.module.__name__.rpartition(".")[2] in CONFORMING:
        metafunc.parametrize("database", ["sqlite", "postgres"], indirect=True)


@pytest.fixture(autouse=True)
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The database that a test's settings name: a file in its folder, or one of its own on a server."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield
        return
    with request.getfixturevalue("postgres").database() as database:
        monkeypatch.setenv("NETRA_DATABASE_URL", database.url)
        monkeypatch.setenv("TEST_ADMIN_URL", database.admin_url)
        yield
