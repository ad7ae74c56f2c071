"""`PydanticAIModel`: every provider but OpenAI, through Pydantic AI's model classes.

Why not our own clients: breadth is not what this project exists for, and Pydantic AI keeps some thirty providers up to
date. It costs 12 to 28 ms of CPU for a 64-chunk answer, against about 1 for the native client. The SDKs below it retry
a request that failed before its stream began; a stream that breaks is not asked for again.
"""

import asyncio
from collections.abc import Iterable
from typing import cast

import httpx2
from pydantic_ai import messages as parts
from pydantic_ai.direct import model_request_stream
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelHTTPError,
    UserError,
)
from pydantic_ai.models import Model as ProviderModel
from pydantic_ai.models import ModelRequestParameters, infer_model
from pydantic_ai.output import OutputObjectDefinition
from pydantic_ai.providers import infer_provider_class
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from netra_apex.core.messages import (
    AssistantMessage,
    ModelMessage,
    ModelRequest,
    Reply,
    SystemMessage,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from netra_apex.core.voices import Deltas
from netra_apex.errors import ConfigurationError, ModelFailed, ModelUnavailable

INSTALL = 'pip install "netra-apex[providers]"'
CHECK_SECONDS = 5.0
MESSAGE_CHARACTERS = 500


class PydanticAIModel:
    """A model of any provider that Pydantic AI knows, named `provider:name` as there.

    One instance serves every run of a process and keeps nothing of any request. Its key comes from the variable that
    the provider's own tools read, such as ANTHROPIC_API_KEY; a missing one is told by `check` and by each request, so
    that the process starts and says what it lacks.

    Raises:
        ConfigurationError: there is no such provider, or its package is not installed.
    """

    def __init__(self, name: str) -> None:
        provider = name.partition(":")[0]
        self._name = name
        self._model: ProviderModel | None = None
        self._lacks = ""
        self._entered = False
        self._entering = asyncio.Lock()
        try:
            infer_provider_class(provider)
            self._model = infer_model(name)
        except ImportError as error:
            raise ConfigurationError(f"{name} needs a package that is not installed: {INSTALL}") from error
        except ValueError as error:
            raise ConfigurationError(f"there is no provider {provider!r}: {name} names no model") from error
        except UserError as error:
            self._lacks = f"{name} is not set up: {error}"

    def __repr__(self) -> str:
        return f"PydanticAIModel({self._name!r})"

    @property
    def name(self) -> str:
        """`provider:name`."""
        return self._name

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        """The whole answer; its pieces go to `deltas` as they arrive.

        Raises:
            ModelFailed: the provider answered with an error, or the answer broke off.
            ModelUnavailable: it cannot be reached, or is not set up.
        """
        model = await self._ready()
        parameters = _parameters(model, request)
        bound = ModelSettings() if request.output_tokens is None else ModelSettings(max_tokens=request.output_tokens)
        if request.headers:
            bound["extra_headers"] = dict(request.headers)
        try:
            async with model_request_stream(
                model,
                _history(request.messages),
                model_settings=bound or None,
                model_request_parameters=parameters,
                instrument=False,
            ) as stream:
                async for event in stream:
                    _tell(event, deltas)
                response = stream.get()
        except ModelConnectionError as error:
            if error.in_stream or error.phase == "read":
                raise self._failed("closed the connection before its answer was whole") from error
            raise ModelUnavailable(
                f"{self._name} cannot be reached: the connection failed", model=self._name
            ) from error
        except ModelHTTPError as error:
            message = _message(error)
            raise self._failed(f"answered {error.status_code}: {message}", error.status_code, message) from error
        except ModelAuthenticationError as error:
            raise ModelUnavailable(
                f"{self._name} refuses its key: {_message(error)}", model=self._name, set_up=False
            ) from error
        except (AgentRunError, UserError) as error:
            message = _message(error)
            raise self._failed(f"failed: {message}", None, message) from error
        except (httpx2.TransportError, OSError) as error:
            raise self._failed("closed the connection before its answer was whole") from error
        ended = (response.provider_details or {}).get("finish_reason")
        if not ended and not response.usage.output_tokens:
            # A provider that ends an answer tells one or the other. `response.finish_reason` does not: it is "stop"
            # for a stream that was cut, too.
            raise self._failed("closed the connection before its answer was whole")
        return _reply(response)

    async def check(self) -> str | None:
        """None where the provider's server answers anything at all, otherwise a sentence with the reason.

        Providers have no question in common that costs nothing, so a wrong key shows at the first request only.
        """
        if self._model is None:
            return self._lacks
        provider = self._model.provider
        if provider is None:
            return None
        try:
            async with asyncio.timeout(CHECK_SECONDS), httpx2.AsyncClient() as client:
                await client.get(provider.base_url)
        except (httpx2.TransportError, TimeoutError, OSError) as error:
            return f"{self._name} cannot be reached ({type(error).__name__})"
        except (httpx2.InvalidURL, UserError, NotImplementedError):
            # Some providers have no address that a plain request could try.
            return None
        return None

    async def aclose(self) -> None:
        """Closes its connections."""
        if self._model is not None and self._entered:
            self._entered = False
            await self._model.__aexit__(None, None, None)

    async def _ready(self) -> ProviderModel:
        if self._model is None:
            raise ModelUnavailable(self._lacks, model=self._name, set_up=False)
        if not self._entered:
            async with self._entering:  # of two first requests one enters and the other waits for it
                if not self._entered:
                    await self._model.__aenter__()
                    self._entered = True
        return self._model

    def _failed(self, what: str, status: int | None = None, message: str = "") -> ModelFailed:
        return ModelFailed(f"{self._name} {what}", model=self._name, status=status, provider_message=message)


def _parameters(model: ProviderModel, request: ModelRequest) -> ModelRequestParameters:
    tools = [
        ToolDefinition(name=tool.name, description=tool.description, parameters_json_schema=dict(tool.parameters))
        for tool in request.tools
    ]
    if request.output_schema is None:
        return ModelRequestParameters(function_tools=tools)
    native = model.profile.get("supports_json_schema_output", False)
    return ModelRequestParameters(
        function_tools=tools,
        output_mode="native" if native else "prompted",
        output_object=OutputObjectDefinition(json_schema=dict(request.output_schema), name="answer"),
    )


def _history(messages: Iterable[ModelMessage]) -> list[parts.ModelMessage]:
    """Ours as theirs: consecutive messages to the model are parts of one of their requests."""
    history: list[parts.ModelMessage] = []
    names: dict[str, str] = {}
    waiting: list[parts.ModelRequestPart] = []
    for message in messages:
        match message:
            case SystemMessage():
                waiting.append(parts.SystemPromptPart(content=message.content))
            case UserMessage():
                pictures = [parts.BinaryContent(image.data, media_type=image.media_type) for image in message.images]
                waiting.append(parts.UserPromptPart([message.content, *pictures] if pictures else message.content))
            case ToolMessage():
                name = names.get(message.call_id, "unknown")
                waiting.append(
                    parts.ToolReturnPart(tool_name=name, content=message.content, tool_call_id=message.call_id)
                )
            case AssistantMessage():
                if waiting:
                    history.append(parts.ModelRequest(parts=waiting))
                    waiting = []
                said: list[parts.ModelResponsePart] = []
                if message.content:
                    said.append(parts.TextPart(content=message.content))
                for call in message.tool_calls:
                    names[call.id] = call.name
                    said.append(parts.ToolCallPart(tool_name=call.name, args=call.arguments, tool_call_id=call.id))
                history.append(parts.ModelResponse(parts=said))
    if waiting:
        history.append(parts.ModelRequest(parts=waiting))
    return history


def _tell(event: object, deltas: Deltas) -> None:
    match event:
        case parts.PartStartEvent(part=parts.TextPart(content=text)) if text:
            deltas.text(text)
        case parts.PartStartEvent(part=parts.ThinkingPart(content=text)) if text:
            deltas.thinking(text)
        case parts.PartDeltaEvent(delta=parts.TextPartDelta(content_delta=text)) if text:
            deltas.text(text)
        case parts.PartDeltaEvent(delta=parts.ThinkingPartDelta(content_delta=text)) if text:
            deltas.thinking(text)
        case _:
            pass


def _reply(response: parts.ModelResponse) -> Reply:
    text = "".join(part.content for part in response.parts if isinstance(part, parts.TextPart))
    thinking = "".join(part.content for part in response.parts if isinstance(part, parts.ThinkingPart))
    calls = tuple(
        ToolCall(part.tool_call_id, part.tool_name, _arguments(part))
        for part in response.parts
        if isinstance(part, parts.ToolCallPart)
    )
    usage = Usage(response.usage.input_tokens, response.usage.output_tokens, 1)
    cached = response.usage.cache_read_tokens
    ended = response.finish_reason
    return Reply(text=text, tool_calls=calls, thinking=thinking, usage=usage, cached_tokens=cached, finish_reason=ended)


def _arguments(call: parts.ToolCallPart) -> str:
    """The model's own text, as the dispatcher judges it; theirs would wrap what is no JSON into an object."""
    return (call.args or "{}") if isinstance(call.args, str) else call.args_as_json_str()


def _message(error: AgentRunError | UserError) -> str:
    """The provider's own sentence where its error's body has one."""
    body = error.body if isinstance(error, ModelAPIError) else None
    inner = cast("dict[str, object]", body).get("message") if isinstance(body, dict) else None
    text = inner if isinstance(inner, str) and inner else error.message
    return text if len(text) <= MESSAGE_CHARACTERS else text[:MESSAGE_CHARACTERS] + "…"
