import asyncio

from argon2 import extract_parameters

from netra_apex.server.passwords import CHECKS_AT_ONCE, Passwords, hash_password, verify

PASSWORD = "correct horse battery"


def test_a_hash_is_argon2id_with_the_minimum_that_owasp_recommends():
    parameters = extract_parameters(hash_password(PASSWORD))
    assert (parameters.type.name, parameters.memory_cost, parameters.time_cost, parameters.parallelism) == (
        "ID", 19_456, 2, 1,
    )  # fmt: skip


def test_the_right_password_is_right_and_another_is_not():
    hashed = hash_password(PASSWORD)
    assert verify(hashed, PASSWORD)
    assert not verify(hashed, PASSWORD + "!")


def test_a_stored_value_that_is_no_hash_makes_no_password_right():
    assert not verify("plain", "plain")
    assert not verify("", "")


def test_nobodys_password_is_never_right_and_is_checked_all_the_same():
    async def main():
        passwords = Passwords()
        async with passwords.turn() as turn:
            assert not await turn.verify(None, PASSWORD)
            assert await turn.verify(hash_password(PASSWORD), PASSWORD)

    asyncio.run(main())


def test_only_so_many_passwords_are_checked_at_once():
    async def main():
        passwords = Passwords()
        inside, most, full, release = 0, 0, asyncio.Event(), asyncio.Event()

        async def check():
            nonlocal inside, most
            async with passwords.turn():
                inside += 1
                most = max(most, inside)
                if inside == CHECKS_AT_ONCE:
                    full.set()
                await release.wait()
                inside -= 1

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            for _ in range(3 * CHECKS_AT_ONCE):
                group.create_task(check())
            await full.wait()
            release.set()
        assert most == CHECKS_AT_ONCE

    asyncio.run(main())
