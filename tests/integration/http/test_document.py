"""The OpenAPI document holds: every operation is called with data of all kinds, and answers as it says."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.integration.http.serving import Echo, SilentModel, client_of, serving

from netra_apex import AgentRegistry, Settings
from netra_apex.server.app import create_app

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
    allow_header_conformance,
]
APP = create_app(AgentRegistry([Echo]), Settings(home=Path("unused")), model=SilentModel())
DOCUMENT = schemathesis.openapi.from_dict(APP.openapi())


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """(server's URL, headers of a login, ids of things that exist)."""
    with serving(tmp_path_factory.mktemp("home"), agents=[Echo], queued_per_user=5) as served:

        async def main():
            async with asyncio.timeout(20), client_of(served) as client:
                await client.login()
                thread_id = await client.thread()
                run_id = await client.run(thread_id)
                await client.ended(run_id)
                form = aiohttp.FormData()
                form.add_field("file", b"a,b\n1,2\n", filename="a.csv")
                uploaded = await client.post(f"/api/threads/{thread_id}/files", data=form)
                ids = {"thread_id": thread_id, "run_id": run_id, "file_id": uploaded.json["file_id"]}
                return ids, {"Authorization": f"Bearer {client.token}"}

        ids, headers = asyncio.run(main())
        yield served.url, headers, ids


@DOCUMENT.exclude(operation_id=["logout"]).parametrize()
@settings(
    max_examples=25,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_each_operation_answers_as_the_document_says(case, target):
    url, headers, ids = target
    deletes = case.operation.method.upper() == "DELETE"
    for name, value in ids.items():
        # Every second case is about something that exists.
        if name in (case.path_parameters or {}) and not deletes and len(str(case.path_parameters[name])) % 2:
            case.path_parameters[name] = value
    case.call_and_validate(base_url=url, headers=headers, checks=CHECKS, timeout=10)


def test_every_route_is_in_the_document_but_the_pages_the_socket_and_a2a():
    paths = APP.openapi()["paths"]
    assert set(paths) == {
        "/api/admin/audit",
        "/api/admin/overview",
        "/api/admin/processes/{executor}/drain",
        "/api/admin/processes/{executor}/resume",
        "/api/admin/runs",
        "/api/admin/runs/{run_id}",
        "/api/admin/runs/{run_id}/cancel",
        "/api/admin/runs/{run_id}/events",
        "/api/admin/service-levels",
        "/api/admin/users",
        "/api/admin/users/{username}/disable",
        "/api/admin/users/{username}/enable",
        "/api/me/keys",
        "/api/me/keys/{key_id}",
        "/api/me/memories",
        "/api/me/memories/{memory_id}",
        "/api/auth/login",
        "/api/auth/logout",
        "/api/auth/me",
        "/api/auth/refresh",
        "/api/auth/setup",
        "/api/agents",
        "/api/me/password",
        "/api/me/sessions",
        "/api/me/sessions/{session_id}",
        "/api/agui/runs/{run_id}",
        "/api/agui/{agent}",
        "/api/me/usage",
        "/api/approvals",
        "/api/approvals/{approval_id}",
        "/api/questions",
        "/api/questions/{question_id}",
        "/api/mcp/callback",
        "/api/mcp/servers",
        "/api/mcp/servers/{name}/authorize",
        "/api/mcp/servers/{name}/credential",
        "/api/threads",
        "/api/threads/{thread_id}",
        "/api/threads/{thread_id}/files",
        "/api/threads/{thread_id}/files/{file_id}",
        "/api/threads/{thread_id}/messages",
        "/api/threads/{thread_id}/runs",
        "/api/runs/{run_id}",
        "/api/runs/{run_id}/cancel",
        "/api/runs/{run_id}/events",
        "/v1/models",
        "/v1/models/{model}",
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/responses/{response_id}",
        "/v1/responses/{response_id}/cancel",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    idents = [operation["operationId"] for path in paths.values() for operation in path.values()]
    assert len(set(idents)) == len(idents)
    assert all("_" not in ident or ident.islower() for ident in idents)


def test_every_operation_for_users_asks_for_a_credential():
    anonymous = {"login", "refresh", "setup", "healthz", "readyz", "metrics"}
    for path in APP.openapi()["paths"].values():
        for operation in path.values():
            assert ("security" in operation) == (operation["operationId"] not in anonymous)
            assert "401" in operation["responses"] or operation["operationId"] in anonymous
