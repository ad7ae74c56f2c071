"""The HTTP door: the whole product as one ASGI application, and as processes."""

from netra_apex.server.app import create_app
from netra_apex.server.serve import serve
from netra_apex.server.worker import work

__all__ = ["create_app", "serve", "work"]
