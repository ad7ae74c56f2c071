"""A user's side: the typed client that `netra chat` and `netra probe` use. It knows the contract and no server."""

from netra_apex.client.client import Client
from netra_apex.client.connection import Connection
from netra_apex.client.errors import (
    ClientError,
    ConnectionLost,
    ConnectionOver,
    ConnectionRefused,
    RequestRefused,
    ServerUnreachable,
    StreamBroken,
    UnreadableFrame,
)
from netra_apex.client.frames import Event, OtherEvent
from netra_apex.client.live import Frame, LiveRun, Reconnected, Reconnecting
from netra_apex.client.values import (
    AgentInfo,
    ApprovalInfo,
    Budget,
    FileInfo,
    Listing,
    Login,
    MessageInfo,
    OpenThread,
    QuestionInfo,
    RunInfo,
    ThreadInfo,
    UsageInfo,
)

__all__ = [
    "AgentInfo",
    "ApprovalInfo",
    "Budget",
    "Client",
    "ClientError",
    "Connection",
    "ConnectionLost",
    "ConnectionOver",
    "ConnectionRefused",
    "Event",
    "FileInfo",
    "Frame",
    "Listing",
    "LiveRun",
    "Login",
    "MessageInfo",
    "OpenThread",
    "OtherEvent",
    "QuestionInfo",
    "Reconnected",
    "Reconnecting",
    "RequestRefused",
    "RunInfo",
    "ServerUnreachable",
    "StreamBroken",
    "ThreadInfo",
    "UnreadableFrame",
    "UsageInfo",
]
