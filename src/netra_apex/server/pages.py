"""The two pages of this server itself: `/`, which says what it is, and `/setup`, which makes the first admin."""

import base64
import hashlib
import html
from importlib.resources import files
from string import Template

from fastapi import APIRouter
from starlette.responses import HTMLResponse, RedirectResponse, Response

from netra_apex.server import web
from netra_apex.server.callers import Running

router = APIRouter(include_in_schema=False)


def _text(name: str) -> str:
    return (files("netra_apex.server") / "static" / name).read_text(encoding="utf-8")


def _digest(inline: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()}'"


class _Page:
    """A page with its one style and one script inside, and the policy that lets a browser run these and no other."""

    def __init__(self, name: str) -> None:
        style, script = _text("page.css"), _text(f"{name}.js")
        self._template = Template(_text(f"{name}.html"))
        self._inline = {"style": style, "script": script}
        self._headers = {
            "Content-Security-Policy": (
                f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; connect-src 'self'; "
                "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
            )
        }

    def answer(self, **values: str) -> HTMLResponse:
        """The page with these values in it, escaped."""
        escaped = {name: html.escape(value) for name, value in values.items()}
        return HTMLResponse(self._template.substitute(self._inline, **escaped), headers=self._headers)


_HOME = _Page("home")
_SETUP = _Page("setup")


@router.get("/")
async def home(services: Running) -> Response:
    """The web app; where it is not built, or nobody could log in yet, what this is and how to talk to it."""
    if web.is_built() and await services.runtime.stores.accounts.users():
        return web.page()
    without_admin = not await services.runtime.stores.accounts.has_admin()
    return _HOME.answer(first="" if without_admin else "hidden", model=services.runtime.models.get(None).name)


@router.get("/admin")
async def admin(services: Running) -> Response:
    """The operator's page, which is a part of the web app: what it shows it asks for as whoever is logged in."""
    return await home(services)


@router.get("/admin/")
async def admin_folder() -> Response:
    """The same page; its files are found beside `/admin`."""
    return RedirectResponse("../admin")


@router.get("/setup")
async def setup() -> HTMLResponse:
    """The first admin's page; its script takes the token from the link's fragment, which no server is sent."""
    return _SETUP.answer()
