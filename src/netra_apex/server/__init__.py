"""The HTTP door: the whole product as one ASGI application, and as a process."""

from netra_apex.server.app import create_app
from netra_apex.server.serve import serve

__all__ = ["create_app", "serve"]
