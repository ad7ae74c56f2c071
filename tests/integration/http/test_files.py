"""Files of threads over HTTP: what is taken and what is not, and that they are their owner's alone (G5, G11)."""

import asyncio
import io

import aiohttp
from tests.integration.http.serving import serving, talk
from tests.integration.http.test_problems import is_problem

PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 20
CSV = b"day,cost\n2026-01-01,1.5\n"
BOUNDARY = "----netra"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


async def upload(client, thread_id, data=CSV, name="usage.csv", *, field="file"):
    form = aiohttp.FormData(quote_fields=False)
    form.add_field(field, io.BytesIO(data), filename=name, content_type="text/plain")
    return await client.post(f"/api/threads/{thread_id}/files", data=form)


def body(*parts: tuple[str, bytes], end: bool = True) -> bytes:
    whole = b""
    for disposition, data in parts:
        whole += f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + data + b"\r\n"
    return whole + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


def test_a_file_is_uploaded_listed_read_and_deleted(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        path = f"/api/threads/{thread_id}/files"
        answer = await upload(client, thread_id)
        assert answer.status == 201, answer.text
        file_id = answer.json["file_id"]
        assert answer.json == {"file_id": file_id, "name": "usage.csv", "size": len(CSV)}
        other = (await upload(client, thread_id, PNG, "c\u00f6st chart.png")).json["file_id"]
        listed = (await client.get(path)).json["items"]
        assert {(each["name"], each["media_type"], each["thread_id"]) for each in listed} == {
            ("usage.csv", "text/csv", thread_id),
            ("c\u00f6st chart.png", "image/png", thread_id),
        }
        assert len((await client.get(f"{path}?limit=1")).json["items"]) == 1
        got = await client.get(f"{path}/{file_id}")
        assert (got.status, got.text, got.headers["Content-Type"]) == (200, CSV.decode(), "text/csv")
        assert got.headers["Content-Disposition"] == "attachment; filename=\"usage.csv\"; filename*=UTF-8''usage.csv"
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Content-Length"] == str(len(CSV))
        async with client.http.get(
            f"{client.url}{path}/{other}", headers={"Authorization": f"Bearer {client.token}"}
        ) as image:
            assert await image.read() == PNG
            assert "c%C3%B6st%20chart.png" in image.headers["Content-Disposition"]
        assert (await client.call("DELETE", f"{path}/{file_id}")).status == 204
        is_problem(await client.get(f"{path}/{file_id}"), 404, "not_found")
        is_problem(await client.call("DELETE", f"{path}/{file_id}"), 404, "not_found")
        await client.call("DELETE", f"/api/threads/{thread_id}")
        is_problem(await client.get(path), 404, "not_found")

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_one_that_is_larger_than_other_bodies_may_be_goes_through(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        data = b"0123456789abcdef\n" * 200_000
        answer = await upload(client, thread_id, data)
        assert (answer.status, answer.json["size"]) == (201, len(data))
        got = await client.get(f"/api/threads/{thread_id}/files/{answer.json['file_id']}")
        assert got.text.encode() == data

    with serving(tmp_path, body_bytes=2048) as served:
        talk(served, scenario)


def test_what_is_over_a_limit_is_refused_and_leaves_nothing(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        said = is_problem(await upload(client, thread_id, b"x" * 100_001), 413, "too_large")
        assert said["detail"] == "the file is over 100000 bytes, which is the most"
        # So large that it is not read at all, and so large that it is refused while it comes.
        is_problem(await upload(client, thread_id, b"x" * 300_000), 413, "too_large")
        big = body(('form-data; name="file"; filename="a.txt"', b"x" * 300_000))

        async def chunks():
            for start in range(0, len(big), 10_000):
                yield big[start : start + 10_000]

        answer = await client.post(f"/api/threads/{thread_id}/files", data=chunks(), headers=MULTIPART)
        is_problem(answer, 413, "too_large")
        assert (await upload(client, thread_id, b"x" * 100_000)).status == 201
        assert (await upload(client, thread_id, b"x" * 50_000)).status == 201
        said = is_problem(await upload(client, thread_id, b"x"), 413, "too_large")
        assert said["detail"] == "your files would be over 150000 bytes together: delete some first"
        assert len((await client.get(f"/api/threads/{thread_id}/files")).json["items"]) == 2

    with serving(tmp_path, upload_bytes=100_000, files_bytes_per_user=150_000) as served:
        talk(served, scenario)


FILE = 'form-data; name="file"; filename="a.csv"'


WRONG = [
    (body(), "in its one field 'file'"),
    (b"", "in its one field 'file'"),
    (b"\x00nonsense", "in its one field 'file'"),
    (body(('form-data; name="other"; filename="a.csv"', CSV)), "in its one field 'file'"),
    (body(('form-data; name="file"', CSV)), "in its one field 'file'"),
    (body((FILE, CSV), (FILE, CSV)), "and it has more"),
    (body((FILE, CSV), ('form-data; name="note"', b"hi")), "and it has more"),
    (body((FILE, CSV), end=False), "breaks off in the middle"),
    (body((FILE, b"")), "the file is empty"),
    (body(('form-data; name="file"; filename=""', CSV)), "the file has no name"),
    (body(('form-data; name="file"; filename="../.."', CSV)), "the file has no name"),
    (body((f'form-data; name="file"; filename="{"n" * 201}"', CSV)), "201 characters"),
    (body((FILE, b"\x00\x01\x02")), "no text in UTF-8"),
    (body(('form-data; name="file"; filename="a.png"', CSV)), "does not begin like one"),
    (body(('form-data; name="file"; filename="a.csv"', PNG)), "its content is image/png"),
    (body(('form-data; name="file"; filename="a.html"', b"<script>")), "text/html is not taken here"),
    (body(('form-data; name="file"; filename="a.exe"', b"MZ\x90\x00")), "octet-stream is not taken here"),
]


def test_what_is_no_upload_is_refused_with_a_sentence(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        path = f"/api/threads/{thread_id}/files"
        for sent, why in WRONG:
            problem = is_problem(await client.post(path, data=sent, headers=MULTIPART), 422, "invalid")
            assert why in problem["detail"]
        assert (await client.get(path)).json["items"] == []

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_body_of_another_type_is_told_which_is_wanted(tmp_path):
    async def scenario(client):
        await client.login()
        path = f"/api/threads/{await client.thread()}/files"
        for wrong in ("application/json", "multipart/form-data", f"multipart/form-data; boundary={'x' * 300}", "x"):
            answer = await client.post(path, data=body((FILE, CSV)), headers={"Content-Type": wrong})
            assert "must be multipart/form-data" in is_problem(answer, 422, "invalid")["detail"]

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_name_with_a_path_is_kept_without_it(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        for name, kept in (("../../etc/us\x01age.csv", "usage.csv"), ("C:\\tmp\\a.csv", "a.csv")):
            sent = body((f'form-data; name="file"; filename="{name}"', CSV))
            answer = await client.post(f"/api/threads/{thread_id}/files", data=sent, headers=MULTIPART)
            assert (answer.status, answer.json["name"]) == (201, kept), answer.text

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_somebody_elses_thread_and_file_are_as_none(tmp_path):
    async def scenario(client):
        await client.login()
        here, other = await client.thread(), await client.thread()
        mine = (await upload(client, here)).json["file_id"]
        is_problem(await client.get(f"/api/threads/{other}/files/{mine}"), 404, "not_found")
        is_problem(await upload(client, "thr_nothing"), 404, "not_found")
        for name in ("bob", "root"):
            await client.login(name)
            bobs = await client.thread()
            theirs, nothing = await upload(client, here), await upload(client, "thr_nothing")
            assert theirs.text.replace(here, "") == nothing.text.replace("thr_nothing", "")
            is_problem(theirs, 404, "not_found")
            is_problem(await client.get(f"/api/threads/{here}/files"), 404, "not_found")
            for where in (here, bobs):
                is_problem(await client.get(f"/api/threads/{where}/files/{mine}"), 404, "not_found")
                is_problem(await client.call("DELETE", f"/api/threads/{where}/files/{mine}"), 404, "not_found")
        await client.login()
        assert (await client.get(f"/api/threads/{here}/files/{mine}")).text == CSV.decode()
        is_problem(await client.call("GET", f"/api/threads/{here}/files/{mine}", bearer=False), 401, "unauthenticated")

    with serving(tmp_path) as served:
        talk(served, scenario)


def test_a_client_that_goes_away_in_the_middle_leaves_nothing_and_no_error(tmp_path):
    async def scenario(client):
        await client.login()
        thread_id = await client.thread()
        host, port = client.url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        start = body((FILE, b"a,b\n" * 300_000), end=False)
        writer.write(
            f"POST /api/threads/{thread_id}/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.token}\r\n"
            f"Content-Type: {MULTIPART['Content-Type']}\r\nContent-Length: {len(start) + 1000}\r\n\r\n".encode()
        )
        writer.write(start)
        await writer.drain()
        writer.close()
        # What it had taken counts no longer: the next one has all the room.
        async with asyncio.timeout(10):
            while (await upload(client, thread_id, b"x" * 2_000_000)).status != 201:
                pass
        assert len((await client.get(f"/api/threads/{thread_id}/files")).json["items"]) == 1

    with serving(tmp_path, files_bytes_per_user=2_000_000) as served:
        talk(served, scenario)
