"""A stream of events as OpenAI's clients read it."""

from netra_apex.server.auth import Principal
from netra_apex.server.eventstream import EventStream, Frames
from netra_apex.server.services import Services


class OpenAIStream(EventStream):
    """Frames that are written already; heartbeats, the user's places and the login's end are those of any stream."""

    def written(self, seq: int | None, text: str) -> str:
        """The frame."""
        return text


def streamed(frames: Frames, services: Services, principal: Principal) -> OpenAIStream:
    """A stream for this caller."""
    return OpenAIStream(
        frames,
        services.runtime.manager.stream(principal.user_id),
        services.runtime.settings.heartbeat_seconds,
        lambda: services.authenticator.still_valid(principal),
    )


def check_place(services: Services, principal: Principal) -> None:
    """Whether there is room for one more stream, before anything is begun for it. Raises: Flood: there is none."""
    with services.runtime.manager.stream(principal.user_id):
        return
