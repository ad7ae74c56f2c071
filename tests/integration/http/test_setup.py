import asyncio
import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta

import pytest
from tests.integration.http.serving import PASSWORD, add_users, serving, talk

from netra_apex.server import web
from netra_apex.server.setup import new_setup_token
from netra_apex.server.tokens import hash_token, new_token

ADMIN = {"username": "Grace", "password": PASSWORD}


def test_the_link_makes_the_first_admin_once(tmp_path, capsys):
    with serving(tmp_path, users=False) as served:
        token = re.search(r"/setup#(\S+)", capsys.readouterr().out)[1]

        async def scenario(client):
            made = await client.post("/api/auth/setup", {"token": token, **ADMIN})
            assert made.status == 201
            assert (made.json["user"]["user_id"], made.json["user"]["permissions"]) == ("grace", ["admin"])
            again = await client.post("/api/auth/setup", {"token": token, "username": "eve", "password": PASSWORD})
            assert (again.status, again.json["code"]) == (403, "forbidden")
            await client.login("grace")

        talk(served, scenario)


def test_a_link_is_printed_only_while_there_is_no_admin_and_each_voids_the_one_before(tmp_path, capsys):
    tokens = []
    for _ in range(2):
        with serving(tmp_path, users=False):
            tokens.append(re.search(r"/setup#(\S+)", capsys.readouterr().out)[1])
    add_users(tmp_path, ada=())
    with serving(tmp_path, users=False) as served:
        assert "/setup#" in capsys.readouterr().out

        async def scenario(client):
            for token in tokens:
                assert (await client.post("/api/auth/setup", {"token": token, **ADMIN})).status == 403

        talk(served, scenario)
    add_users(tmp_path, root={"admin"})
    with serving(tmp_path, users=False):
        assert "/setup#" not in capsys.readouterr().out


def test_no_second_admin_is_made_even_with_a_valid_token(tmp_path):
    with serving(tmp_path, users=False) as served:
        accounts = served.services().runtime.stores.accounts
        token = served.on_loop(new_setup_token(accounts))
        add_users(tmp_path, root={"admin"})

        async def scenario(client):
            answer = await client.post("/api/auth/setup", {"token": token, **ADMIN})
            assert (answer.status, answer.json["code"]) == (403, "forbidden")

        talk(served, scenario)
        assert served.on_loop(new_setup_token(accounts)) is None
        assert served.on_loop(accounts.user("grace")) is None


def test_a_link_is_void_after_its_hour(tmp_path):
    with serving(tmp_path, users=False) as served:
        accounts = served.services().runtime.stores.accounts
        token = new_token()
        served.on_loop(accounts.put_setup_token(hash_token(token), datetime.now(UTC) - timedelta(seconds=1)))

        async def scenario(client):
            answer = await client.post("/api/auth/setup", {"token": token, **ADMIN})
            assert (answer.status, answer.json["code"]) == (403, "forbidden")

        talk(served, scenario)


def test_of_two_who_open_the_link_at_once_one_becomes_admin(tmp_path, capsys):
    with serving(tmp_path, users=False) as served:
        token = re.search(r"/setup#(\S+)", capsys.readouterr().out)[1]

        async def scenario(client):
            answers = await asyncio.gather(
                *(
                    client.post("/api/auth/setup", {"token": token, "username": name, "password": PASSWORD})
                    for name in ("grace", "edsger", "barbara")
                )
            )
            assert sorted(answer.status for answer in answers) == [201, 403, 403]

        talk(served, scenario)


def test_a_wrong_name_or_password_leaves_the_link_good(tmp_path, capsys):
    add_users(tmp_path, ada=())
    with serving(tmp_path, users=False) as served:
        token = re.search(r"/setup#(\S+)", capsys.readouterr().out)[1]

        async def scenario(client):
            for name, password in [
                ("grace", "short"),
                ("no name!", PASSWORD),
                ("default", PASSWORD),
                ("ada", PASSWORD),
            ]:
                body = {"token": token, "username": name, "password": password}
                answer = await client.post("/api/auth/setup", body)
                assert (answer.status, answer.json["code"]) == (422, "invalid"), name
                assert password not in answer.text
            assert (await client.post("/api/auth/setup", {"token": token, **ADMIN})).status == 201

        talk(served, scenario)


def test_guesses_at_the_token_are_throttled(tmp_path):
    with serving(tmp_path, users=False) as served:

        async def scenario(client):
            statuses = [(await client.post("/api/auth/setup", {"token": "x", **ADMIN})).status for _ in range(12)]
            assert statuses == [403] * 10 + [429] * 2

        talk(served, scenario)


@pytest.fixture
def without_the_app(tmp_path, monkeypatch):
    """As in a tree where the web app is not built."""
    monkeypatch.setattr(web, "FOLDER", tmp_path / "nothing")


@pytest.mark.usefixtures("without_the_app")
def test_the_pages_run_only_the_script_and_style_that_are_theirs(tmp_path):
    async def scenario(client):
        for path in ("/", "/setup"):
            answer = await client.get(path)
            assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
            policy = answer.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            for tag in ("style", "script"):
                (inline,) = re.findall(rf"<{tag}>(.*?)</{tag}>", answer.text, re.DOTALL)
                digest = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
                assert f"{tag}-src 'sha256-{digest}'" in policy
            assert not re.search(r"\son\w+=|\sstyle=|<script ", answer.text)
            assert '<html lang="en">' in answer.text

    with serving(tmp_path) as served:
        talk(served, scenario)


@pytest.mark.usefixtures("without_the_app")
def test_the_first_page_says_where_the_link_is_while_there_is_no_admin(tmp_path):
    async def scenario(client):
        page = (await client.get("/")).text
        assert re.search(r'<p class="note" >.*No administrator yet', page)
        assert "netra chat --url" in page
        assert "test:silent" in page

    with serving(tmp_path, users=False) as served:
        talk(served, scenario)

    async def with_admin(client):
        assert re.search(r'<p class="note" hidden>', (await client.get("/")).text)

    with serving(tmp_path / "other") as served:
        talk(served, with_admin)


def test_who_has_no_valid_token_does_not_learn_which_accounts_exist(tmp_path):
    with serving(tmp_path, users=False) as served:
        add_users(tmp_path, ada=())

        async def scenario(client):
            told = set()
            for name in ("ada", "nobody"):
                answer = await client.post("/api/auth/setup", {**ADMIN, "token": "x" * 43, "username": name})
                told.add((answer.status, answer.text))
            assert {status for status, _ in told} == {403}
            assert len(told) == 1

        talk(served, scenario)
