"""The web app's files, as `make ui` builds them into the package; a tree without them has the plain page instead."""

from pathlib import Path

from starlette.datastructures import MutableHeaders
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "web"

# No script but our own files. Styles may stand in the page: charts are drawn with their own.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def is_built() -> bool:
    """Whether the app is there."""
    return (FOLDER / "index.html").is_file()


def page() -> Response:
    """The app's one page; which files it is made of, it says itself, so it is asked for anew each time."""
    return FileResponse(FOLDER / "index.html", headers={"Content-Security-Policy": POLICY})


class Assets(StaticFiles):
    """The files that the page is made of. Their names say what is in them, so that a browser may keep them."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER / "assets", check_dir=False)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, which never changes under its name."""
        response = await super().get_response(path, scope)
        if response.status_code == 200:
            MutableHeaders(raw=response.raw_headers)["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
