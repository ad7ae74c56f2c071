"""Which web pages may use a browser's credentials: the origin rule, for HTTP and for sockets alike."""

from urllib.parse import urlsplit

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_HTTP = {"ws": "http", "wss": "https"}
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origins:
    """The origins that are allowed: those that are set, and the server's own pages when it is reached by loopback.

    Why loopback needs no setting: a page of ours comes from the very address that it talks to. A page of somebody
    else's that has its name point here (DNS rebinding) is told by that name, which is no loopback name.
    """

    def __init__(self, allowed: tuple[str, ...]) -> None:
        self._allowed = frozenset(filter(None, map(_parts, allowed)))

    def allow(self, origin: str, host: str | None, scheme: str) -> bool:
        """Whether a page of `origin` may talk to the server that it reached as `scheme`://`host`."""
        page = _parts(origin)
        if page is None:
            return False
        if page in self._allowed:
            return True
        if host is None or page[1] not in LOOPBACK_NAMES:
            return False
        return page == _parts(f"{_HTTP.get(scheme, scheme)}://{host}")


def _parts(origin: str) -> tuple[str, str, int] | None:
    """(scheme, host, port) of an origin (RFC 6454); None where it is none, `null` included."""
    try:
        split = urlsplit(origin)
        port = split.port
    except ValueError:
        return None
    if split.scheme not in _DEFAULT_PORTS or not split.hostname or split.username is not None:
        return None
    if split.path or split.query or split.fragment:
        return None
    return split.scheme, split.hostname, port if port is not None else _DEFAULT_PORTS[split.scheme]
