"""One frozen `Settings`: what may be set, its defaults, and where each value came from."""

import contextlib
import ipaddress
import os
import re
import secrets
import tomllib
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    PyprojectTomlConfigSettingsSource,
    SettingsConfigDict,
)

from netra_apex.addresses import SCHEMES, PostgresAddress
from netra_apex.bounds import Bounds, Days, Names, Seconds
from netra_apex.errors import ConfigurationError

PREFIX = "NETRA_"
MIN_SECRET = 32
_WELL_KNOWN = frozenset({"secret", "changeme", "change-me", "password", "netra", "development", "insecure", "example"})

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_EXPORTER_HEADERS = re.compile(r"OTEL_EXPORTER_OTLP_\w*HEADERS")  # a key to where telemetry goes, most likely
_PRICE = re.compile(r"([^:=\s]+:[^=\s]+)=(\d+\.?\d*|\.\d+)/(\d+\.?\d*|\.\d+)")


class Settings(Bounds):
    """Everything that may be set, read once: flag, environment, `.env`, `[tool.netra]` in pyproject.toml, default.

    `Settings.load(**flags)` raises `ConfigurationError` with a sentence for each value that is wrong; the field names
    below with the prefix `NETRA_` are the variables. Provider keys keep their usual names.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        pyproject_toml_table_header=("tool", "netra"),
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    home: Path = Field(Path(".netra"), description="Folder of the database and the generated secret, mode 0700.")
    database_url: str | None = Field(
        None,
        repr=False,  # a password may be in it
        description="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME; left out: netra.db in the home.",
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(8000, description="Port to listen on; 0 takes a free one.")
    secret_key: SecretStr | None = Field(
        None, description="Signs access tokens; left out: generated in the home. Needed on a non-loopback address."
    )
    allowed_origins: Names = Field(
        (), description="Origins of web pages that may use cookies and sockets, comma separated."
    )
    model: str | None = Field(None, description="provider:name; left out: the offline demo model, which says so.")
    titles: Literal["first-line", "model"] = Field(
        "first-line", description="Where a thread's title comes from: its first line, or a model that is asked for one."
    )
    access_token_seconds: Seconds = Field(900, description="Life of an access token.")
    session_days: Days = Field(30, description="Life of a login.")
    trusted_proxies: Names = Field(
        (), description="Addresses or networks of reverse proxies whose X-Forwarded-* is believed."
    )
    root_path: str = Field("", description="Path under which a reverse proxy serves the application.")
    compat: Literal["off", "warn", "error"] = Field(
        "off", description="Whether netra_apex.compat works for old callers: warn counts each use, error refuses it."
    )
    telemetry: Literal["off", "on", "content"] = Field(
        "off", description="Traces and measures by OpenTelemetry; `content` also tells prompts, arguments and results."
    )

    openai_api_key: SecretStr | None = Field(None, validation_alias="OPENAI_API_KEY", description="Key for openai:.")
    openai_base_url: str = Field(
        "https://api.openai.com/v1", validation_alias="OPENAI_BASE_URL", description="Where openai: is."
    )

    @field_validator("allowed_origins", "trusted_proxies", "model_prices", "upload_types", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value

    @field_validator("allowed_origins")
    @classmethod
    def _name_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            scheme, separator, rest = origin.partition("://")
            if scheme not in ("http", "https") or not separator or not rest or "/" in rest or "*" in rest:
                raise ValueError(f"{origin!r} is no origin: write https://example.org, without path or wildcard")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _name_proxies(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            try:
                network = ipaddress.ip_network(proxy)
            except ValueError as error:
                raise ValueError(
                    f"{proxy!r} is no IP address or network: write 10.0.0.7 or 10.0.0.0/24 ({error})"
                ) from error
            if network.prefixlen == 0:
                raise ValueError(f"{proxy!r} is every address: anybody could then say to be anybody")
        return value

    @field_validator("model_prices")
    @classmethod
    def _name_prices(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for price in value:
            if not _PRICE.fullmatch(price):
                raise ValueError(
                    f"{price!r} is no price: write provider:name=0.5/1.5, in US dollars per million tokens"
                )
        return value

    @field_validator("root_path")
    @classmethod
    def _plain_path(cls, value: str) -> str:
        path = value.removesuffix("/")
        if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            raise ValueError(f"{value!r} is no path: write /agents, of letters, digits and . _ ~ - between slashes")
        return path

    @field_validator("secret_key")
    @classmethod
    def _real_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        secret = value.get_secret_value()
        if len(secret) < MIN_SECRET:
            raise ValueError(f"it has {len(secret)} characters; {MIN_SECRET} is the least")
        if len(set(secret)) < 8 or any(secret.lower().startswith(word) for word in _WELL_KNOWN):
            raise ValueError("it is well known or repeats itself; make one with: openssl rand -base64 48")
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str | None) -> str | None:
        if value is None or value.startswith("sqlite:///"):
            return value
        if not value.startswith(SCHEMES):
            raise ValueError("write sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME")
        PostgresAddress.read(value)
        return value

    @field_validator("model")
    @classmethod
    def _provider_and_name(cls, value: str | None) -> str | None:
        if value is not None and not all(value.partition(":")):
            raise ValueError(f"{value!r} is no model: write provider:name, such as openai:gpt-5")
        return value

    @model_validator(mode="after")
    def _fail_closed(self) -> "Settings":
        if not is_loopback(self.host):
            missing = [
                name
                for name, value in (
                    ("NETRA_SECRET_KEY", self.secret_key),
                    ("NETRA_ALLOWED_ORIGINS", self.allowed_origins),
                )
                if not value
            ]
            if missing:
                raise ValueError(f"{self.host} is not a loopback address: set {' and '.join(missing)} to serve on it")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flag, environment, .env, pyproject.toml, in this order."""
        del file_secret_settings
        return (init_settings, env_settings, dotenv_settings, PyprojectTomlConfigSettingsSource(settings_cls))

    @classmethod
    def load(cls, **flags: Any) -> "Settings":
        """Reads every source; flags that are None were not given.

        Raises:
            ConfigurationError: with a line for each value that is wrong.
        """
        if unknown := flags.keys() - cls.model_fields.keys():
            raise ConfigurationError(f"there is no setting {', '.join(sorted(unknown))}")
        try:
            with _readable():
                return cls(**{name: value for name, value in flags.items() if value is not None})
        except ValidationError as error:
            lines = [_sentence(cls, problem["loc"], problem["msg"]) for problem in error.errors()]
            raise ConfigurationError("\n".join(lines)) from error

    @property
    def own_prices(self) -> dict[str, tuple[float, float]]:
        """Prices of a million tokens of input and of output by model, as NETRA_MODEL_PRICES gives them."""
        found = filter(None, map(_PRICE.fullmatch, self.model_prices))
        return {price[1]: (float(price[2]), float(price[3])) for price in found}

    @property
    def titles_are_asked(self) -> bool:
        """Whether a model is asked for titles: not where there is a budget, which such a request is no part of."""
        tokens = (self.run_tokens, self.user_tokens_per_day, self.day_tokens)
        return self.titles == "model" and not self.costs_are_limited and not any(tokens)

    @property
    def costs_are_limited(self) -> bool:
        """Whether there is a budget of money, so that every model needs a price."""
        limits = (self.run_cost_usd, self.user_cost_usd_per_day, self.day_cost_usd)
        return any(limit is not None for limit in limits)

    @property
    def on_postgres(self) -> bool:
        """Whether the data is on a Postgres server, which many processes may share."""
        return self.database_url is not None and self.database_url.startswith(SCHEMES)

    @property
    def database_path(self) -> Path:
        """The SQLite file."""
        if self.database_url:
            return Path(self.database_url.removeprefix("sqlite:///"))
        return self.home / "netra.db"

    def prepare_home(self) -> str:
        """Makes the home (mode 0700) and returns the signing secret: the one that is set, else the generated one.

        Raises:
            ConfigurationError: the home cannot be made, or the file of the generated one holds none.
        """
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise ConfigurationError(f"NETRA_HOME {self.home} cannot be made a folder: {error.strerror}") from error
        if self.secret_key is not None:
            return self.secret_key.get_secret_value()
        path = self.home / "secret"
        if not path.exists():
            made = path.with_name(f"secret.{secrets.token_hex(8)}")
            made.touch(mode=0o600)
            made.write_text(secrets.token_urlsafe(48))
            # A link appears whole and only once, so of two processes that start together both read one secret.
            with contextlib.suppress(FileExistsError):
                path.hardlink_to(made)
            made.unlink()
        secret = path.read_text().strip()
        if len(secret) < MIN_SECRET:
            raise ConfigurationError(f"{path} holds no secret of {MIN_SECRET} characters: delete it to have one made")
        return secret

    def own_secrets(self) -> tuple[str, ...]:
        """Values that must never be stored or told, wherever they turn up."""
        values = [self.secret_key, self.openai_api_key]
        found = [value.get_secret_value() for value in values if value is not None]
        if self.database_url is not None and self.on_postgres:
            found += PostgresAddress.read(self.database_url).secrets
        found += [value for name, value in os.environ.items() if _EXPORTER_HEADERS.fullmatch(name) and value]
        return tuple(found)


def environment_for_tools() -> dict[str, str]:
    """This process's environment without what is the server's alone, for processes that run an application's tools.

    Left out are the secrets among the settings and the database's URL; and the host, as one that other machines reach
    is refused without a secret, so that a module that reads the settings when it is imported could not be.
    """
    fields = Settings.model_fields.items()
    withheld = {variable(name) for name, field in fields if SecretStr in get_args(field.annotation)}
    withheld |= {variable("database_url"), variable("host")}
    # Settings are read by any spelling.
    return {
        name: value
        for name, value in os.environ.items()
        if name.upper() not in withheld and not _EXPORTER_HEADERS.fullmatch(name)
    }


def from_environment(name: str) -> str | None:
    """What this process's environment has under this name, for files that name it."""
    return os.environ.get(name)


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def variable(name: str) -> str:
    """The environment variable of a field."""
    alias = Settings.model_fields[name].validation_alias
    return alias if isinstance(alias, str) else f"{PREFIX}{name}".upper()


def sources(flags: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Where each field's value comes from: flag, environment, .env, pyproject.toml or default."""
    with _readable():
        read = {
            "environment": EnvSettingsSource(Settings)(),
            ".env": DotEnvSettingsSource(Settings)(),
            "pyproject.toml": PyprojectTomlConfigSettingsSource(Settings)(),
        }
    found: dict[str, str] = {}
    for name in Settings.model_fields:
        keys = {name, variable(name)}
        if flags and flags.get(name) is not None:
            found[name] = "flag"
        else:
            found[name] = next((source for source, values in read.items() if keys & values.keys()), "default")
    return found


def unknown_names() -> tuple[str, ...]:
    """Names that are no setting and look like one, each with where it stands: most likely typing errors."""
    known = {variable(name) for name in Settings.model_fields}
    keys = Settings.model_fields.keys() | {name for name in known if not name.startswith(PREFIX)}
    with _readable():
        dotenv = DotEnvSettingsSource(Settings).env_vars
        table = PyprojectTomlConfigSettingsSource(Settings).toml_data

    def strangers(names: Iterable[str]) -> list[str]:
        return sorted({name for name in map(str.upper, names) if name.startswith(PREFIX)} - known)

    return (
        *strangers(os.environ),
        *(f"{name} in .env" for name in strangers(dotenv)),
        *(f"{name} in [tool.netra]" for name in sorted(table.keys() - keys)),
    )


@contextlib.contextmanager
def _readable() -> Generator[None]:
    """Turns what is wrong with a whole file into a sentence."""
    try:
        yield
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"pyproject.toml cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f".env and pyproject.toml must be UTF-8: {error}") from error


def _sentence(settings: type[Settings], location: tuple[int | str, ...], message: str) -> str:
    name = str(location[0]) if location else ""
    label = variable(name) if name in settings.model_fields else name
    return f"{label}: {message.removeprefix('Value error, ')}" if label else message.removeprefix("Value error, ")
