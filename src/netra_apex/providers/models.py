"""`Models`: the models of a process, each opened when it is first asked for."""

from collections.abc import Iterable

from netra_apex.core.voices import Model
from netra_apex.providers import open_model
from netra_apex.providers.prices import DEMO
from netra_apex.settings import Settings


class Models:
    """Models by the name that agents give them; `None` is NETRA_MODEL, and without that the offline demo model.

    One instance per name serves every run: a model keeps connections, and nothing of any request. `fixed` takes the
    place of all of them.
    """

    def __init__(self, settings: Settings, fixed: Model | None = None) -> None:
        self._settings = settings
        self._fixed = fixed
        self._open: dict[str | None, Model] = {}

    def get(self, name: str | None = None) -> Model:
        """The model of this name.

        Raises:
            ConfigurationError: there is no such provider, or its package is not installed.
        """
        if self._fixed is not None:
            return self._fixed
        wanted = name or self._settings.model
        if wanted not in self._open:
            key = self._settings.openai_api_key
            self._open[wanted] = open_model(
                wanted,
                openai_api_key=None if key is None else key.get_secret_value(),
                openai_base_url=self._settings.openai_base_url,
            )
        return self._open[wanted]

    def names(self, wanted: Iterable[str | None]) -> frozenset[str]:
        """Under which names models answer that agents want under these; none of them is opened for it."""
        if self._fixed is not None:
            return frozenset({self._fixed.name})
        return frozenset(name or self._settings.model or DEMO for name in wanted)

    async def aclose(self) -> None:
        """Closes their connections."""
        for model in self._open.values():
            await model.aclose()
