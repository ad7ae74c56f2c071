"""Counts of what was told, for the metrics: by type and ending, never by user."""

from collections import Counter

from netra_apex.core.events import DurableEvent, is_terminal


class Meter:
    """Counters of one process. `old_names` counts the uses of `netra_apex.compat`."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.endings: Counter[str] = Counter()
        self.old_names: Counter[str] = Counter()

    def count(self, event: DurableEvent) -> None:
        """Counts an event that was stored and told."""
        kind = str(event.__struct_config__.tag)
        self.events[kind] += 1
        if is_terminal(event):
            self.endings[kind] += 1

    def count_old_name(self, name: str) -> None:
        """Counts a use of a name of `netra_apex.compat`."""
        self.old_names[name] += 1
