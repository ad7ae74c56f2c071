"""Accounts on a real database: each secret works once, and an end is an end."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.bounded import run
from tests.support.stores import opened, raw

from netra_apex.core.accounts import Session
from netra_apex.errors import Invalid, StoreError
from netra_apex.stores.accounts import AccountStore

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)


def with_accounts(home: Path, main: Callable[[AccountStore], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with opened(home) as stores:
            await main(stores.accounts)

    run(bounded())


def login(number: int = 1, user: str = "ada", *, lasts: timedelta = HOUR) -> Session:
    return Session(
        session_id=f"ses_{number}", user_id=user, cookie_hash=f"cookie_{number}", refresh_hash=f"refresh_{number}",
        previous_refresh_hash=None, rotated_at=NOW, created_at=NOW, expires_at=NOW + lasts,
    )  # fmt: skip


def test_a_user_is_who_was_added_and_nobody_twice(tmp_path: Path) -> None:
    async def main(accounts: AccountStore) -> None:
        await accounts.add_user("ada", "hash", frozenset({"orders:read", "admin"}))
        with pytest.raises(Invalid, match="there is a user ada already"):
            await accounts.add_user("ada", "other", frozenset())
        await accounts.add_user("bob", "hash-b", frozenset())
        user = await accounts.user("ada")
        assert user
        assert (user.user_id, user.permissions, user.disabled) == ("ada", {"orders:read", "admin"}, False)
        assert await accounts.password_hash("ada") == "hash"
        assert [each.user_id for each in await accounts.users()] == ["ada", "bob"]
        assert await accounts.user("eve") is await accounts.password_hash("eve") is None

    with_accounts(tmp_path, main)


def test_of_many_that_take_one_name_at_once_one_gets_it(tmp_path: Path) -> None:
    async def main(accounts: AccountStore) -> None:
        ends = await asyncio.gather(
            *(accounts.add_user("ada", f"hash-{number}", frozenset()) for number in range(20)), return_exceptions=True
        )
        (winner,) = [number for number, end in enumerate(ends) if end is None]
        assert all(isinstance(end, Invalid) for end in ends if end is not None)
        assert await accounts.password_hash("ada") == f"hash-{winner}"

    with_accounts(tmp_path, main)


def test_a_session_is_found_by_its_id_cookie_and_refresh_token_while_it_lasts(tmp_path: Path) -> None:
    async def main(accounts: AccountStore) -> None:
        await accounts.add_user("ada", "hash", frozenset())
        await accounts.add_session(login(1))
        await accounts.add_session(login(2, lasts=-HOUR))
        assert await accounts.session("ses_1") == login(1)
        assert await accounts.session_by_cookie("cookie_1") == login(1)
        assert await accounts.session_by_refresh("refresh_1") == login(1)
        for found in (
            await accounts.session("ses_2"), await accounts.session_by_cookie("cookie_2"),
            await accounts.session_by_refresh("refresh_2"), await accounts.session("cookie_1"),
            await accounts.session_by_cookie("refresh_1"), await accounts.session_by_refresh("cookie_1"),
        ):  # fmt: skip
            assert found is None
        assert await accounts.live_sessions() == {"ses_1"}
        await accounts.end_session("ses_1")
        await accounts.end_session("ses_1")
        assert await accounts.session("ses_1") is None

    with_accounts(tmp_path, main)


def test_nobody_who_does_not_exist_can_be_logged_in(tmp_path: Path) -> None:
    async def main(accounts: AccountStore) -> None:
        with pytest.raises(StoreError):
            await accounts.add_session(login(user="eve"))
        assert await accounts.live_sessions() == frozenset()

    with_accounts(tmp_path, main)


def test_expired_logins_are_forgotten_with_the_next_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as stores:
            await stores.accounts.add_user("ada", "hash", frozenset())
            await stores.accounts.add_session(login(1, lasts=-HOUR))
            await stores.accounts.add_session(login(2))
            rows = await raw(stores, "select session_id from sessions")
            assert rows == [("ses_2",)]

    run(main())


def test_of_two_rotations_of_one_token_one_succeeds_and_the_old_token_is_known_as_the_previous(tmp_path: Path) -> None:
    async def main(accounts: AccountStore) -> None:
        await accounts.add_user("ada", "hash", frozenset())
        await accounts.add_session(login())
        at = NOW + timedelta(seconds=5)
        ends = await asyncio.gather(
            *(accounts.rotate("ses_1", "refresh_1", f"new_{number}", at) for number in range(20))
        )
        assert sum(ends) == 1
        new = f"new_{ends.index(True)}"
        session = await accounts.session("ses_1")
        assert session
        assert (session.refresh_hash, session.previous_refresh_hash, session.rotated_at) == (new, "refresh_1", at)
        assert await accounts.session_by_refresh(new) == await accounts.session_by_refresh("refresh_1") == session
        for lost in (f"new_{number}" for number in range(20) if f"new_{number}" != new):
            assert await accounts.session_by_refresh(lost) is None
        assert not await accounts.rotate("ses_1", "refresh_1", "again", at)
        assert not await accounts.rotate("ses_other", new, "again", at)

    with_accounts(tmp_path, main)


@pytest.mark.parametrize("what", ["disable", "password"])
def test_disabling_and_a_new_password_end_the_users_logins_and_nobody_elses(tmp_path: Path, what: str) -> None:
    async def main(accounts: AccountStore) -> None:
        for number, user in enumerate(("ada", "ada", "bob"), 1):
            if number != 2:
                await accounts.add_user(user, f"hash-{user}", frozenset({"admin"}))
            await accounts.add_session(login(number, user))
        if what == "disable":
            assert await accounts.set_disabled("ada", disabled=True)
            assert await accounts.password_hash("ada") is None
            user = await accounts.user("ada")
            assert user
            assert user.disabled
        else:
            assert await accounts.set_password("ada", "other")
            assert await accounts.password_hash("ada") == "other"
        assert await accounts.live_sessions() == {"ses_3"}
        assert await accounts.password_hash("bob") == "hash-bob"

    with_accounts(tmp_path, main)


def test_who_is_enabled_again_may_log_in_again_with_the_same_password(tmp_path: Path) -> None:
    async def main(accounts: AccountStore) -> None:
        await accounts.add_user("ada", "hash", frozenset())
        await accounts.set_disabled("ada", disabled=True)
        assert await accounts.set_disabled("ada", disabled=False)
        assert await accounts.password_hash("ada") == "hash"
        assert not await accounts.set_disabled("eve", disabled=True)
        assert not await accounts.set_disabled("eve", disabled=False)
        assert not await accounts.set_password("eve", "x")

    with_accounts(tmp_path, main)


def test_a_set_up_token_makes_one_admin_once(tmp_path: Path) -> None:
    async def main(accounts: AccountStore) -> None:
        await accounts.put_setup_token("token", NOW + HOUR)
        assert not await accounts.has_admin()
        ends = await asyncio.gather(
            *(accounts.redeem_setup_token("token", NOW, f"ada{number}", f"hash-{number}") for number in range(10))
        )
        assert sum(ends) == 1
        (user,) = await accounts.users()
        assert user.permissions == {"admin"}
        assert await accounts.has_admin()

    with_accounts(tmp_path, main)


def test_a_set_up_token_that_is_wrong_expired_or_replaced_makes_nobody(tmp_path: Path) -> None:
    async def main(accounts: AccountStore) -> None:
        assert not await accounts.redeem_setup_token("token", NOW, "ada", "hash")
        await accounts.put_setup_token("token", NOW + HOUR)
        assert not await accounts.redeem_setup_token("other", NOW, "ada", "hash")
        assert not await accounts.redeem_setup_token("token", NOW + HOUR, "ada", "hash")
        await accounts.put_setup_token("second", NOW + HOUR)
        assert not await accounts.redeem_setup_token("token", NOW, "ada", "hash")
        assert await accounts.users() == ()
        assert await accounts.redeem_setup_token("second", NOW, "ada", "hash")

    with_accounts(tmp_path, main)


def test_no_set_up_token_works_once_an_admin_exists(tmp_path: Path) -> None:
    async def main(accounts: AccountStore) -> None:
        await accounts.put_setup_token("token", NOW + HOUR)
        await accounts.add_user("bob", "hash", frozenset({"admin:not", "orders:admin"}))
        assert not await accounts.has_admin()
        await accounts.add_user("ada", "hash", frozenset({"x", "admin"}))
        assert await accounts.has_admin()
        assert not await accounts.redeem_setup_token("token", NOW, "eve", "hash")
        assert await accounts.user("eve") is None

    with_accounts(tmp_path, main)


def test_a_name_that_is_taken_leaves_the_set_up_token_valid(tmp_path: Path) -> None:
    async def main(accounts: AccountStore) -> None:
        await accounts.add_user("ada", "hash", frozenset())
        await accounts.put_setup_token("token", NOW + HOUR)
        with pytest.raises(Invalid, match="there is a user ada already"):
            await accounts.redeem_setup_token("token", NOW, "ada", "other")
        assert await accounts.password_hash("ada") == "hash"
        assert await accounts.redeem_setup_token("token", NOW, "eve", "hash")

    with_accounts(tmp_path, main)


def test_several_are_added_all_or_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(tmp_path) as stores:
            await stores.accounts.add_user("bob", "hash", frozenset())
            several = [(name, "hash", frozenset[str]()) for name in ("ada", "bob", "eve")]
            with pytest.raises(Invalid, match="bob"):
                await stores.accounts.add_users(several)
            assert [user.user_id for user in await stores.accounts.users()] == ["bob"]

    run(main())
