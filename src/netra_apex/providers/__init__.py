"""What we call: models. `open_model` is the one place that knows which class answers for which name."""

from netra_apex.core.voices import Model
from netra_apex.errors import ConfigurationError

OPENAI = "openai"
_INSTALL = 'pip install "netra-apex[providers]"; in a checkout: pip install -e ".[providers]"'
_IN_EXTRA = frozenset({"anthropic", "google", "groq", "mistral"})


def open_model(name: str | None, *, openai_api_key: str | None, openai_base_url: str) -> Model:
    """The model of that name; None is the offline demo model, and nothing else ever is.

    Each provider's module is imported when it is asked for: Pydantic AI alone takes a second and 80 MB.

    Raises:
        ConfigurationError: the name is not `provider:name`, there is no such provider, or its package is missing.
    """
    if name is None:
        from netra_apex.providers.demo import DemoModel

        return DemoModel()
    provider, _, model = name.partition(":")
    if not provider or not model:
        raise ConfigurationError(f"{name!r} is no model: write provider:name, such as openai:gpt-5")
    if provider == OPENAI:
        from netra_apex.providers.openai import OpenAIModel

        return OpenAIModel(name, api_key=openai_api_key, base_url=openai_base_url)
    try:
        from netra_apex.providers.pydantic_ai import PydanticAIModel
    except ImportError as error:
        # Which providers Pydantic AI has, only it could say.
        what = "needs" if provider in _IN_EXTRA else f"is misspelled (there is no provider {provider!r} here), or needs"
        raise ConfigurationError(f"{name} {what} Pydantic AI, which is not installed: {_INSTALL}") from error
    return PydanticAIModel(name)
