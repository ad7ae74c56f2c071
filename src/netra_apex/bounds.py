"""`Bounds`: the settings that limit what people, their runs and their files may take."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, NoDecode

Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, le=31_536_000, allow_inf_nan=False)]  # a year at most
Days = Annotated[float, Field(gt=0, le=3650, allow_inf_nan=False)]
Dollars = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], NoDecode]

_UPLOADS = (
    "text/plain", "text/markdown", "text/csv", "text/tab-separated-values", "application/json",
    "application/x-ndjson", "application/yaml", "application/xml", "application/pdf",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "application/vnd.apache.parquet", "image/png", "image/jpeg", "image/webp", "image/gif",
)  # fmt: skip


class Bounds(BaseSettings):
    """The part of `Settings` that limits, in one place: what each is for, its unit in its name, and its default."""

    runs_per_user: Positive = Field(3, description="Runs of one user at once.")
    queued_per_user: Annotated[int, Field(ge=0)] = Field(20, description="Runs of one user that may wait.")
    runs_per_process: Positive = Field(250, description="Runs of one process at once.")
    connections_per_user: Positive = Field(10, description="Sockets of one user at once.")
    history_messages: Positive = Field(100, description="Messages of a thread that a model is told.")
    agent_timeout_seconds: Seconds = Field(120, description="Active time of one agent.")
    agent_depth: Annotated[int, Field(ge=1, le=10)] = Field(10, description="How deep agents may hand work down.")
    tool_timeout_seconds: Seconds = Field(30, description="Time of one tool call that declares none.")
    tool_result_bytes: Annotated[int, Field(ge=256)] = Field(
        65_536, description="Size of a tool's result; more is cut, and says so."
    )
    tool_memory_bytes: Annotated[int, Field(ge=16 * 1024**2)] = Field(
        1024**3, description="Memory of an isolated tool's process, beyond what its module takes."
    )
    tool_processes: Positive = Field(16, description="Isolated tool calls of one process at once.")
    tool_processes_per_user: Positive = Field(4, description="Isolated tool calls of one user at once.")
    max_turns: Positive = Field(20, description="Model answers in one run of a ChatAgent that declares none.")
    retention_days: Days = Field(30, description="How long the events of a run that has ended can be read again.")
    approval_days: Days = Field(30, description="How long a person has to decide on a call, or to answer a question.")
    memories_per_user: Positive = Field(1000, description="How many things agents may remember of one user.")
    memory_characters: Positive = Field(2000, description="Length of one thing that is remembered.")
    mcp_servers: Path | None = Field(None, description="File of MCP servers, JSON or TOML.")
    mcp_sessions: Positive = Field(200, description="Sessions of one process with MCP servers at once.")
    mcp_sessions_per_user: Positive = Field(10, description="Sessions of one user with MCP servers at once.")
    mcp_idle_seconds: Annotated[float, Field(ge=0, le=86_400)] = Field(
        60, description="How long a session with an MCP server is kept that no run uses."
    )
    frame_bytes: Annotated[int, Field(ge=100)] = Field(65_536, description="Size of a frame that a client sends.")
    frames_per_minute: Positive = Field(60, description="Frames of one connection in the long run.")
    frames_burst: Positive = Field(30, description="Frames of one connection at once.")
    body_bytes: Annotated[int, Field(ge=1024)] = Field(1_048_576, description="Size of an HTTP request's body.")
    upload_bytes: Positive = Field(50 * 1024**2, description="Size of one file of a thread.")
    image_bytes: Positive = Field(10 * 1024**2, description="Size of the pictures of one model request together.")
    upload_types: Names = Field(
        _UPLOADS,
        description="Media types of files that users may upload, comma separated.",
    )
    files_bytes_per_user: Positive = Field(1024**3, description="Size of all files of one user together.")
    heartbeat_seconds: Seconds = Field(25, description="Time between WebSocket pings, and time to answer one.")
    drain_seconds: Seconds = Field(20, description="Time that running runs have to end when the server stops.")

    golden_path_seconds: Seconds = Field(
        60, description="Within this a message is to be answered: the limit of the golden path."
    )
    golden_path_objective: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = Field(
        0.999, description="Share of runs that are to go the golden path."
    )

    run_tokens: Positive | None = Field(None, description="Tokens that one run may use, its members' included.")
    run_cost_usd: Dollars | None = Field(None, description="What one run may cost.")
    user_tokens_per_day: Positive | None = Field(None, description="Tokens that one user may use in a day (UTC).")
    user_cost_usd_per_day: Dollars | None = Field(None, description="What one user may cost in a day (UTC).")
    day_tokens: Positive | None = Field(None, description="Tokens that all users together may use in a day (UTC).")
    day_cost_usd: Dollars | None = Field(None, description="What all users together may cost in a day (UTC).")
    model_output_tokens: Positive = Field(4096, description="Longest answer of a model while there is a budget.")
    model_prices: Names = Field(
        (), description="provider:name=INPUT/OUTPUT, US dollars per million tokens, comma separated."
    )
