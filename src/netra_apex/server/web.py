"""The web app's files, as `make ui` builds them into the package; a tree without them has the plain page instead."""

import mimetypes
import re
from pathlib import Path

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "web"
_PLAIN = re.compile(r"[\w.-]+")

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


def is_packed(name: str) -> bool:
    """Whether the build left this file compressed, too."""
    return _PLAIN.fullmatch(name) is not None and (FOLDER / "assets" / f"{name}.gz").is_file()


class Assets(StaticFiles):
    """The files that the page is made of. Their names say what is in them, so that a browser may keep them."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER / "assets", check_dir=False)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, which never changes under its name; compressed as the build left it where the browser takes it so."""
        headers = Headers(scope=scope)
        packed = "gzip" in headers.get("accept-encoding", "") and "range" not in headers and is_packed(path)
        response = await super().get_response(f"{path}.gz" if packed else path, scope)
        if response.status_code == 200:
            told = MutableHeaders(raw=response.raw_headers)
            told["Cache-Control"] = "public, max-age=31536000, immutable"
            told["Vary"] = "Accept-Encoding"
            if packed:
                told["Content-Encoding"] = "gzip"
                told["Content-Type"] = mimetypes.guess_type(path)[0] or "application/octet-stream"
        return response
