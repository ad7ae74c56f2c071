"""`OpenAIModel`: any server that speaks OpenAI's Chat Completions format, over one pooled HTTP session.

Why our own client: the official one costs 7 to 12 ms of CPU for a 64-chunk answer, this one well under 2 (measured on
one core, with the same model server), and the token path is what a multi-user server spends its time on.
"""

import asyncio
import io
import os
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType

import aiohttp
import msgspec
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential
from yarl import URL

from netra_apex.core.messages import ModelRequest, Reply
from netra_apex.core.voices import Deltas
from netra_apex.errors import ConfigurationError, ModelFailed, ModelUnavailable
from netra_apex.providers.openai_request import NO_JSON, encode_request
from netra_apex.providers.openai_wire import AGAIN, Answer, Garbled, Reported, error_text, quote, severity
from netra_apex.providers.reading import Gathering, drain, some

DEFAULT_BASE_URL = "https://api.openai.com/v1"
PREFIX = "openai:"
ATTEMPTS = 3
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
CHECK_SECONDS = 5.0
BACKOFF_SECONDS = 0.5
LONGEST_WAIT = 20.0
"""Seconds: the cap of the backoff, and the longest `Retry-After` that is waited for rather than reported."""
ERROR_BYTES = 65_536
WHOLE_BYTES = 16 * 1024 * 1024
MESSAGE_CHARACTERS = 500
# aiohttp warns above 1 MiB, where sending plain bytes would hold up the loop.
STREAMED_BODY = 2**20

# A quota that is used up also answers 429, but waiting does not fill it.
_FINAL_CODES = ("insufficient_quota", "billing")
_EMPTY_FINISHES = MappingProxyType(
    {
        "length": "it reached its length limit before any text",
        "content_filter": "the provider's content filter withheld it",
    }
)


class _Interrupted(Exception):
    """An attempt failed in a way in which the next one may not. `told`: the user has seen some of its answer."""

    def __init__(self, failure: ModelFailed, *, told: bool = False, retry_after: float | None = None) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.told = told
        self.retry_after = retry_after


class OpenAIModel:
    """A model behind the Chat Completions API.

    One instance serves every run of a process: it keeps a connection pool and nothing of any request. The session has
    no cookie jar, since a provider's cookie would tie one user's requests to another's. An answer that was not read to
    its end never gives its connection back, so no later request can read its rest.

    `silence` is the longest time in seconds between two reads, `backoff` the first wait before a retry. There is no
    limit on the whole answer: the engine has its own.

    Raises:
        ConfigurationError: the name does not begin with `openai:`, or the address is no http(s) URL.
    """

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        base_url: str = DEFAULT_BASE_URL,
        silence: float = SILENCE_SECONDS,
        backoff: float = BACKOFF_SECONDS,
    ) -> None:
        self._model = name.removeprefix(PREFIX)
        if not name.startswith(PREFIX) or not self._model:
            raise ConfigurationError(f"{name!r} is no OpenAI model: write openai:NAME, such as openai:gpt-5")
        url = _base(base_url)
        self._name = name
        self._key = api_key or None
        if self._key:
            # aiohttp refuses a request that has both a bearer token and an address with a user in it.
            url = url.with_user(None)
        self._completions = url / "chat" / "completions"
        self._models = url / "models"
        # Without the user and password that an address may carry.
        self._origin = str(url.origin())
        self._needs_key = url.host == "api.openai.com"
        self._silence = silence
        self._backoff = backoff
        self._wait_random = wait_random_exponential(multiplier=backoff, max=LONGEST_WAIT)
        self._opened: aiohttp.ClientSession | None = None

    def __repr__(self) -> str:
        return f"OpenAIModel({self._name!r}, base_url={self._origin!r})"

    @property
    def name(self) -> str:
        """`openai:` and the model's name."""
        return self._name

    async def complete(self, request: ModelRequest, deltas: Deltas) -> Reply:
        """The whole answer; its pieces go to `deltas` as they arrive, those of one read of the socket joined.

        Up to 3 attempts: after 408, 429, 5xx, a failed or lost connection, with growing random waits or the provider's
        `Retry-After`. Where some of the answer was told already, `deltas.reset()` comes before the next attempt.

        Raises:
            ModelFailed: the provider answered with an error or in another format, lost the connection, or was silent.
            ModelUnavailable: it cannot be reached, or has no key.
        """
        self._require_key()
        body = encode_request(self._model, request)
        try:
            return await self._attempt(request, body, deltas)
        except _Interrupted as interrupted:
            first = interrupted
        return await self._again(first, request, body, deltas)

    async def _again(self, first: _Interrupted, request: ModelRequest, body: bytes, deltas: Deltas) -> Reply:
        """The attempts after the first, which failed."""
        failures = [first]
        failure: ModelFailed

        def start_anew(state: RetryCallState) -> None:
            if _interruption(state).told:
                deltas.reset()

        async def attempt() -> Reply:
            if failures:
                raise failures.pop()
            return await self._attempt(request, body, deltas)

        retrying = AsyncRetrying(
            sleep=asyncio.sleep,
            stop=stop_after_attempt(ATTEMPTS),
            wait=self._wait,
            retry=retry_if_exception_type(_Interrupted),
            before_sleep=start_anew,
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except _Interrupted as interrupted:
            failure = interrupted.failure
        raise failure

    async def check(self) -> str | None:
        """None where the provider lists its models to us, otherwise a sentence with the reason."""
        try:
            self._require_key()
            async with (
                asyncio.timeout(CHECK_SECONDS),
                self._session().get(self._models, allow_redirects=False) as response,
            ):
                if response.status == 200:
                    return None
                return str(self._refusal(response.status, await some(response, ERROR_BYTES)))
        except ModelUnavailable as error:
            return str(error)
        except TimeoutError:
            return f"{self._name} did not answer at {self._origin} within {CHECK_SECONDS:g} s"
        except aiohttp.ClientError as error:
            return str(self._unreachable(error))

    async def aclose(self) -> None:
        """Closes every connection, those in use too."""
        session, self._opened = self._opened, None
        if session is not None:
            await session.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._opened is None:
            headers = {
                "Accept": "text/event-stream, application/json",
                # Compression holds back tokens until a block is full, and costs CPU on each.
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
            }
            if self._key:
                headers["Authorization"] = f"Bearer {self._key}"
            self._opened = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=60),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
            )
        return self._opened

    async def _attempt(self, request: ModelRequest, body: bytes, deltas: Deltas) -> Reply:
        answer = Answer(deltas)
        structured = request.output_schema is not None
        failure: ModelFailed | _Interrupted
        try:
            await self._stream(request, body, answer)
            if answer.finished:
                return self._result(answer, structured=structured)
            failure = self._lost(answer)
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            failure = _Interrupted(self._unreachable(error))
        except TimeoutError:
            if answer.finished:
                return self._result(answer, structured=structured)
            # Not asked again: the silence has used up half of an agent's time, and most likely the model is just slow.
            failure = self._failed(f"said nothing for {self._silence:g} s")
        except (aiohttp.ClientPayloadError, aiohttp.ClientConnectionError, ConnectionError):
            if answer.finished:
                return self._result(answer, structured=structured)
            failure = self._lost(answer)
        except aiohttp.ClientError as error:
            failure = self._failed(f"did not answer as an HTTP server does ({type(error).__name__})")
        except Garbled as error:
            failure = self._failed(f"did not answer in the chat completions format, but with {error}", status=200)
        except Reported as error:
            failure = self._reported(error.error, answer)
        # Raised out here because an aiohttp error as its context could carry the request's headers, the key among them.
        raise failure

    async def _stream(self, request: ModelRequest, body: bytes, answer: Answer) -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._silence) as limit:
            await self._read(request, body, answer, lambda: limit.reschedule(loop.time() + self._silence))

    async def _read(self, request: ModelRequest, body: bytes, answer: Answer, put_off: Callable[[], None]) -> None:
        """Asks and reads. `put_off` moves the end of patience; it is called now and then, and not at every token.

        aiohttp's own `sock_read` moves a timer at each read of the socket, which was 3 % of a run's CPU.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        data = body if len(body) < STREAMED_BODY else io.BytesIO(body)
        response = await self._session().post(
            self._completions, data=data, headers=request.headers, allow_redirects=False
        )
        next_time = began + self._silence / 16
        try:
            if response.status != 200:
                raise self._refused(response, await some(response, ERROR_BYTES))
            content = response.content
            if response.content_type == "application/json":
                answer.whole(await some(response, WHOLE_BYTES))
                return
            gathering = Gathering(content)
            while not answer.done:
                data = await content.readany()
                if not data:
                    answer.end()
                    return
                answer.feed(data)
                if answer.told and not answer.done:
                    await gathering.wait(answer.pace)
                if clock() > next_time:
                    put_off()
                    next_time = clock() + self._silence / 16
            if not content.is_eof():
                await drain(content)
        finally:
            # Once the body was read to its end the connection is back in the pool already and this does nothing;
            # in every other case, a cancel too, it must go, or the next request would read this answer's rest.
            response.close()

    def _result(self, answer: Answer, *, structured: bool) -> Reply:
        reply = answer.reply()
        if answer.refusal and structured:
            raise self._failed("refused", status=200, message=answer.refusal)
        reason = _EMPTY_FINISHES.get(answer.finish_reason or "")
        if reason and not reply.text and not reply.tool_calls:
            raise self._failed(f"gave no answer: {reason}", status=200)
        return reply

    def _refused(self, response: aiohttp.ClientResponse, body: bytes) -> Exception:
        failure = self._refusal(response.status, body)
        if response.status not in AGAIN and response.status < 500:
            return failure
        wait = _retry_after(response)
        if any(code in body.decode("utf-8", "replace") for code in _FINAL_CODES) or (wait or 0) > LONGEST_WAIT:
            return failure
        return _Interrupted(failure, retry_after=wait)

    def _refusal(self, status: int, body: bytes) -> ModelFailed:
        message = self._clean(_error_message(body))
        sentence = f"{self._name} answered {status}" + (f": {message}" if message else "")
        if status == 401:
            sentence += "; check OPENAI_API_KEY"
        return ModelFailed(sentence, model=self._name, status=status, provider_message=message)

    def _reported(self, error: object, answer: Answer) -> "ModelFailed | _Interrupted":
        status, final = severity(error)
        message = self._clean(error_text(error))
        failure = self._failed("reported an error in its answer", status=status, message=message)
        return failure if final else _Interrupted(failure, told=answer.told)

    def _lost(self, answer: Answer) -> _Interrupted:
        failure = self._failed("closed the connection before its answer was whole")
        return _Interrupted(failure, told=answer.told)

    def _unreachable(self, error: aiohttp.ClientError | None) -> ModelUnavailable:
        reason = "it took too long" if isinstance(error, TimeoutError) else "the connection failed"
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            reason = "its name is not known"
        elif isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
            reason = "its certificate or TLS is not accepted"
        elif isinstance(error, aiohttp.ClientOSError) and error.errno:
            reason = os.strerror(error.errno)
        sentence = f"{self._name} cannot be reached at {self._origin}: {reason}; check OPENAI_BASE_URL and the network"
        return ModelUnavailable(sentence, model=self._name)

    def _failed(self, what: str, *, status: int | None = None, message: str = "") -> ModelFailed:
        sentence = f"{self._name} {what}" + (f": {message}" if message else "")
        return ModelFailed(sentence, model=self._name, status=status, provider_message=message)

    def _require_key(self) -> None:
        if self._needs_key and not self._key:
            raise ModelUnavailable(f"{self._name} needs a key: set OPENAI_API_KEY", model=self._name, set_up=False)

    def _clean(self, message: str) -> str:
        """A provider may quote the key that it refuses, or whole pages."""
        if self._key:
            message = message.replace(self._key, "[key]")
        return message if len(message) <= MESSAGE_CHARACTERS else message[:MESSAGE_CHARACTERS] + "…"

    def _wait(self, state: RetryCallState) -> float:
        asked = _interruption(state).retry_after
        return self._wait_random(state) if asked is None else asked


def _base(base_url: str) -> URL:
    try:
        url = URL(base_url.rstrip("/"))
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError("OPENAI_BASE_URL is no address of a server: write https://HOST/v1")
    return url


def _interruption(state: RetryCallState) -> _Interrupted:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, _Interrupted)
    return error


def _error_message(body: bytes) -> str:
    try:
        decoded: object = msgspec.json.decode(body)
    except NO_JSON:
        return quote(body) if body.strip() else ""
    return error_text(decoded)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds that the provider asks to wait: `retry-after-ms`, or `Retry-After` as seconds or a date (RFC 9110)."""
    milliseconds = response.headers.get("retry-after-ms", "")
    seconds = response.headers.get("Retry-After", "")
    try:
        if milliseconds:
            return max(0.0, float(milliseconds) / 1000)
        if seconds.strip()[:1].isdigit():
            return float(seconds)
        if seconds:
            return max(0.0, (parsedate_to_datetime(seconds) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
    return None
