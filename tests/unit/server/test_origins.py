import pytest

from netra_apex.server.origins import Origins

SET = ("https://app.example.org", "http://app.example.org:8080")


@pytest.mark.parametrize(
    ("origin", "host", "scheme", "allowed"),
    [
        # What is set, however it is written.
        ("https://app.example.org", "api.example.org", "https", True),
        ("https://APP.example.org:443", "api.example.org", "https", True),
        ("http://app.example.org:8080", "api.example.org", "http", True),
        # Another scheme, port or name is another origin.
        ("http://app.example.org", "api.example.org", "https", False),
        ("https://app.example.org:8443", "api.example.org", "https", False),
        ("https://app.example.org.evil.org", "api.example.org", "https", False),
        ("https://evil.org", "evil.org", "https", False),
        ("https://evil.org/https://app.example.org", "evil.org", "https", False),
        ("https://app.example.org@evil.org", "evil.org", "https", False),
        # The server's own page, reached by loopback.
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "http", True),
        ("http://localhost:8000", "localhost:8000", "http", True),
        ("http://[::1]:8000", "[::1]:8000", "ws", True),
        ("https://localhost", "localhost:443", "wss", True),
        # Another server's page on this machine.
        ("http://localhost:3000", "localhost:8000", "http", False),
        ("http://localhost:8000", "127.0.0.1:8000", "http", False),
        ("https://localhost:8000", "localhost:8000", "http", False),
        # A name that was made to point here (DNS rebinding).
        ("http://evil.org:8000", "evil.org:8000", "http", False),
        ("http://localhost.evil.org:8000", "localhost.evil.org:8000", "http", False),
        # No origin at all.
        ("null", "localhost:8000", "http", False),
        ("", "localhost:8000", "http", False),
        ("file://", "localhost:8000", "http", False),
        ("http://", "localhost:8000", "http", False),
        ("http://localhost:99999", "localhost:99999", "http", False),
        ("http://[::1", "[::1", "http", False),
        ("http://localhost:8000", None, "http", False),
    ],
)
def test_an_origin_is_allowed_if_it_is_set_or_is_this_server_by_loopback(origin, host, scheme, allowed):
    assert Origins(SET).allow(origin, host, scheme) is allowed
