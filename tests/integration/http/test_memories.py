from tests.integration.http.serving import serving, talk


def test_a_user_reads_searches_and_forgets_what_is_remembered_of_him(tmp_path):
    async def scenario(client):
        await client.login()
        listed = (await client.get("/api/me/memories")).json
        assert [memory["text"] for memory in listed["items"]] == ["likes tea", "lives in Rome"]
        assert listed["items"][1].keys() == {"memory_id", "text", "key", "created_at"}
        assert listed["items"][1]["key"] == "home"
        first = (await client.get("/api/me/memories?limit=1")).json
        rest = (await client.get(f"/api/me/memories?limit=1&cursor={first['next_cursor']}")).json
        assert [memory["text"] for memory in (*first["items"], *rest["items"])] == ["likes tea", "lives in Rome"]
        assert rest["next_cursor"] is None
        found = (await client.get("/api/me/memories?q=ROME%20(%22*")).json["items"]
        assert [memory["text"] for memory in found] == ["lives in Rome"]
        assert (await client.get("/api/me/memories?q=bob")).json["items"] == []
        assert (await client.get("/api/me/memories?cursor=nonsense")).status == 422
        path = f"/api/me/memories/{found[0]['memory_id']}"
        assert (await client.call("DELETE", path)).status == 204
        gone = await client.call("DELETE", path)
        assert (gone.status, gone.json["code"]) == (404, "not_found")
        assert (await client.call("DELETE", "/api/me/memories/%00")).status == 404
        assert len((await client.get("/api/me/memories")).json["items"]) == 1

    with serving(tmp_path) as served:
        memories = served.services().runtime.stores.memories
        served.on_loop(memories.remember("ada", "lives in Rome", "home"))
        served.on_loop(memories.remember("ada", "likes tea"))
        served.on_loop(memories.remember("bob", "bob's own"))
        talk(served, scenario)


def test_nobody_reads_without_a_login(tmp_path):
    async def scenario(client):
        assert (await client.get("/api/me/memories")).status == 401
        assert (await client.call("DELETE", "/api/me/memories/mem_1")).status == 401

    with serving(tmp_path) as served:
        talk(served, scenario)
