"""The whole server inside an application of your own: `uvicorn examples.mounted:app`.

Everything is under `/agents`: `/agents/api/…`, `/agents/ws`, `/agents/setup`. It starts with its first request.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from netra_apex import AgentRegistry, BaseAgent, RunScope, create_app


class Echo(BaseAgent):
    """Says it again."""

    name = "echo"

    async def run(self, task: str, scope: RunScope) -> str:
        await scope.think("listening")
        return task


async def home(_: Request) -> PlainTextResponse:
    return PlainTextResponse("My own page; the agents are under /agents.")


app = Starlette(routes=[Route("/", home), Mount("/agents", create_app(AgentRegistry([Echo])))])
