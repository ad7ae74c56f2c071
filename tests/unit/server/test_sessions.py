"""Logins against a real SQLite store."""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from netra_apex.core.accounts import Session
from netra_apex.errors import Flood, Unauthenticated
from netra_apex.server.auth import SESSION_COOKIE, Authenticator, bearer_of, cookie_of
from netra_apex.server.origins import Origins
from netra_apex.server.passwords import Passwords, hash_password
from netra_apex.server.sessions import RACE_SECONDS, Lifetimes, Sessions
from netra_apex.server.throttle import PER_NAME
from netra_apex.server.tokens import AccessTokens, Claims, hash_token
from netra_apex.settings import Settings
from netra_apex.stores import open_stores

PASSWORD = "correct horse battery"
HASH = hash_password(PASSWORD)
HERE = "192.0.2.1"


@dataclass
class Sockets:
    closed: list = field(default_factory=list)

    def close_session(self, session_id, code=4401):
        self.closed.append((session_id, code))


@dataclass
class World:
    accounts: object
    sessions: Sessions
    authenticator: Authenticator
    tokens: AccessTokens
    sockets: Sockets

    async def session_of(self, principal) -> Session:
        return await self.accounts.session(principal.session_id)

    async def age_rotation(self, session_id, seconds):
        """As if the refresh token had been replaced so long ago."""
        values = {"ms": seconds * 1000, "session_id": session_id}
        older = "update sessions set rotated_at = rotated_at - :ms where session_id = :session_id"
        await self.accounts._database.write(lambda tx: tx.run(older, values), user=None)


@asynccontextmanager
async def world(home, *, access=timedelta(minutes=15), session=timedelta(days=30)):
    async with open_stores(Settings(home=home)) as stores:
        accounts = stores.accounts
        await accounts.add_user("ada", HASH, frozenset({"orders:read"}))
        await accounts.add_user("bob", HASH, frozenset())
        tokens, sockets = AccessTokens("a secret that is long enough for HS256"), Sockets()
        sessions = Sessions(accounts, tokens, Passwords(), sockets, Lifetimes(access=access, session=session))
        yield World(accounts, sessions, Authenticator(accounts, stores.keys, tokens, Origins(())), tokens, sockets)


def within(seconds, coroutine):
    async def main():
        async with asyncio.timeout(seconds):
            await coroutine

    asyncio.run(main())


def test_a_login_gives_a_token_and_a_cookie_that_name_the_same_user_and_login(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            grant = await w.sessions.login("ada", PASSWORD, HERE)
            by_token = await w.authenticator.by_token(grant.access_token)
            by_cookie = await w.authenticator.by_cookie(f"x=1; {SESSION_COOKIE}={grant.cookie}; y=2")
            assert (by_token.user_id, by_token.how, by_token.permissions) == ("ada", "bearer", {"orders:read"})
            assert (by_cookie.user_id, by_cookie.how, by_cookie.expires_at) == ("ada", "cookie", None)
            assert by_token.session_id == by_cookie.session_id
            assert grant.expires_in == 899 or grant.expires_in == 900
            assert await w.authenticator.still_valid(by_token)
            assert await w.authenticator.still_valid(by_cookie)

    within(10, main())


def test_a_name_is_the_same_however_it_is_written(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            assert (await w.sessions.login("ADA", PASSWORD, HERE)).user.user_id == "ada"

    within(10, main())


def test_a_wrong_password_an_unknown_name_and_a_disabled_user_are_answered_alike(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            await w.accounts.set_disabled("bob", disabled=True)
            sentences = set()
            for name, password in [
                ("ada", "wrong"),
                ("nobody-here", PASSWORD),
                ("bob", PASSWORD),
                ("\x00 no name", PASSWORD),
                ("", PASSWORD),
            ]:
                with pytest.raises(Unauthenticated) as caught:
                    await w.sessions.login(name, password, HERE)
                sentences.add(str(caught.value))
            assert len(sentences) == 1

    within(10, main())


def test_only_hashes_of_the_tokens_are_stored(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            grant = await w.sessions.login("ada", PASSWORD, HERE)
            secrets = (grant.access_token, grant.cookie, grant.refresh)
        written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert hash_token(grant.cookie).encode() in written
        assert not any(secret.encode() in written for secret in secrets)

    within(10, main())


def test_too_many_failures_hold_up_the_right_password_too_and_only_from_that_address(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            for _ in range(PER_NAME):
                with pytest.raises(Unauthenticated):
                    await w.sessions.login("ada", "wrong", HERE)
            with pytest.raises(Flood):
                await w.sessions.login("ada", PASSWORD, HERE)
            await w.sessions.login("ada", PASSWORD, "198.51.100.1")
            await w.sessions.login("bob", PASSWORD, HERE)

    within(20, main())


def test_guesses_that_arrive_at_once_do_not_slip_under_the_limit(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            answers = await asyncio.gather(
                *(w.sessions.login("ada", "wrong", HERE) for _ in range(3 * PER_NAME)), return_exceptions=True
            )
            heard = sum(isinstance(answer, Unauthenticated) for answer in answers)
            # Two are checked at once, so one more than the limit may already be on its way.
            assert PER_NAME <= heard <= PER_NAME + 1
            assert sum(isinstance(answer, Flood) for answer in answers) == len(answers) - heard

    within(20, main())


def test_right_passwords_are_never_held_up_by_their_number(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            grants = await asyncio.gather(*(w.sessions.login("ada", PASSWORD, HERE) for _ in range(2 * PER_NAME)))
            assert len({grant.session.session_id for grant in grants}) == 2 * PER_NAME

    within(20, main())


def test_a_renewal_replaces_the_refresh_token_and_keeps_the_login(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            first = await w.sessions.login("ada", PASSWORD, HERE)
            second = await w.sessions.renew(first.refresh)
            assert second.refresh not in (None, first.refresh)
            assert second.cookie is None
            third = await w.sessions.renew(second.refresh)
            principal = await w.authenticator.by_token(third.access_token)
            assert principal.session_id == first.session.session_id

    within(10, main())


def test_two_tabs_that_renew_at_once_both_get_a_token_and_one_replacement(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            login = await w.sessions.login("ada", PASSWORD, HERE)
            grants = await asyncio.gather(*(w.sessions.renew(login.refresh) for _ in range(5)))
            assert len([grant for grant in grants if grant.refresh is not None]) == 1
            for grant in grants:
                await w.authenticator.by_token(grant.access_token)
            assert w.sockets.closed == []

    within(10, main())


def test_a_replaced_refresh_token_that_comes_back_later_ends_the_login_and_its_sockets(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            login = await w.sessions.login("ada", PASSWORD, HERE)
            other = await w.sessions.login("ada", PASSWORD, HERE)
            renewed = await w.sessions.renew(login.refresh)
            await w.age_rotation(login.session.session_id, RACE_SECONDS + 1)
            with pytest.raises(Unauthenticated):
                await w.sessions.renew(login.refresh)
            assert w.sockets.closed == [(login.session.session_id, 4401)]
            for refresh in (login.refresh, renewed.refresh):
                with pytest.raises(Unauthenticated):
                    await w.sessions.renew(refresh)
            with pytest.raises(Unauthenticated):
                await w.authenticator.by_token(renewed.access_token)
            with pytest.raises(Unauthenticated):
                await w.authenticator.by_cookie(f"{SESSION_COOKIE}={login.cookie}")
            await w.authenticator.by_token(other.access_token)

    within(10, main())


def test_a_refresh_token_ends_the_login_however_often_it_was_replaced_since(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            login = await w.sessions.login("ada", PASSWORD, HERE)
            once = await w.sessions.renew(login.refresh)
            twice = await w.sessions.renew(once.refresh)
            with pytest.raises(Unauthenticated, match="was used before"):
                await w.sessions.renew(login.refresh)
            assert w.sockets.closed == [(login.session.session_id, 4401)]
            with pytest.raises(Unauthenticated):
                await w.sessions.renew(twice.refresh)

    within(10, main())


def test_no_refresh_token_and_an_unknown_one_are_refused(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            for refresh in (None, "", "x", "\ud800", "é" * 5000):
                with pytest.raises(Unauthenticated):
                    await w.sessions.renew(refresh)

    within(10, main())


def test_an_ended_login_takes_its_tokens_and_cookie_with_it_and_no_other_login(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            mine = await w.sessions.login("ada", PASSWORD, HERE)
            other = await w.sessions.login("ada", PASSWORD, HERE)
            principal = await w.authenticator.by_token(mine.access_token)
            await w.sessions.end(mine.session.session_id)
            assert w.sockets.closed == [(mine.session.session_id, 4401)]
            assert not await w.authenticator.still_valid(principal)
            with pytest.raises(Unauthenticated):
                await w.authenticator.by_token(mine.access_token)
            with pytest.raises(Unauthenticated):
                await w.authenticator.by_cookie(f"{SESSION_COOKIE}={mine.cookie}")
            with pytest.raises(Unauthenticated):
                await w.sessions.renew(mine.refresh)
            await w.authenticator.by_token(other.access_token)

    within(10, main())


def test_a_disabled_user_is_refused_at_once_with_every_credential(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            grant = await w.sessions.login("ada", PASSWORD, HERE)
            principal = await w.authenticator.by_token(grant.access_token)
            await w.accounts.set_disabled("ada", disabled=True)
            assert not await w.authenticator.still_valid(principal)
            with pytest.raises(Unauthenticated):
                await w.authenticator.by_token(grant.access_token)
            with pytest.raises(Unauthenticated):
                await w.authenticator.by_cookie(f"{SESSION_COOKIE}={grant.cookie}")
            with pytest.raises(Unauthenticated):
                await w.sessions.renew(grant.refresh)

    within(10, main())


def test_an_access_token_expires_while_its_login_lasts(tmp_path):
    async def main():
        async with world(tmp_path, access=timedelta(milliseconds=80)) as w:
            grant = await w.sessions.login("ada", PASSWORD, HERE)
            principal = await w.authenticator.by_token(grant.access_token)
            await asyncio.sleep((principal.expires_at - datetime.now(UTC)).total_seconds() + 0.01)
            with pytest.raises(Unauthenticated, match="expired"):
                await w.authenticator.by_token(grant.access_token)
            assert not await w.authenticator.still_valid(principal)
            assert (await w.authenticator.by_cookie(f"{SESSION_COOKIE}={grant.cookie}")).user_id == "ada"

    within(10, main())


def test_no_access_token_outlives_its_login(tmp_path):
    async def main():
        async with world(tmp_path, session=timedelta(seconds=5)) as w:
            grant = await w.sessions.login("ada", PASSWORD, HERE)
            principal = await w.authenticator.by_token(grant.access_token)
            assert principal.expires_at <= grant.session.expires_at + timedelta(milliseconds=1)
            assert grant.expires_in <= 5

    within(10, main())


def test_a_token_that_names_somebody_elses_login_is_refused(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            grant = await w.sessions.login("ada", PASSWORD, HERE)
            now = datetime.now(UTC)
            forged = w.tokens.issue(Claims("bob", grant.session.session_id, now + timedelta(hours=1)), now)
            with pytest.raises(Unauthenticated):
                await w.authenticator.by_token(forged)

    within(10, main())


def test_no_session_cookie_is_nobody_and_a_wrong_one_is_refused(tmp_path):
    async def main():
        async with world(tmp_path) as w:
            for header in (None, "", "other=1", f"{SESSION_COOKIE}="):
                assert await w.authenticator.by_cookie(header) is None
            with pytest.raises(Unauthenticated):
                await w.authenticator.by_cookie(f"{SESSION_COOKIE}=wrong")

    within(10, main())


def test_credentials_are_found_in_their_headers_and_nowhere_else():
    assert bearer_of("Bearer abc") == "abc"
    assert bearer_of("bearer  abc ") == "abc"
    assert bearer_of("Bearer") == ""
    assert bearer_of("Basic abc") is None
    assert bearer_of(None) is None
    assert cookie_of("a=1; b=2", "b") == "2"
    assert cookie_of(None, "b") is None
