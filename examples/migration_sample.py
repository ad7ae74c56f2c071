"""Makes a small code base with an old engine and a new one, to be migrated: `python migration_sample.py FOLDER`.

docs/how-to/migrate-a-code-base.md goes through it. Every part is a pitfall that large code bases have, too.
"""

import sys
from pathlib import Path

FILES = {
    "ssot.toml": """\
[[canonical]]
symbol = "shop.engine.UserEngine"
role = "Engine"
deprecated = ["shop.old.OldEngine"]

[canonical.call]
to = "from_registry"
rename = { manager = "bridge", context = "user_context" }
drop = ["verbose"]
required = ["user_context"]

[[phase]]
name = "tests"
include = ["tests/**"]
batch = 5
validate = "python -m unittest -q {files}"

[[phase]]
name = "code"
include = ["shop/**"]
priority = 1
batch = 5
validate = "python -m unittest discover -q -s tests -t ."
""",
    "shop/__init__.py": '''\
"""A shop whose engines have become two."""

from shop.old import OldEngine

__all__ = ["OldEngine"]
''',
    "shop/old.py": '''\
"""The engine that everybody used."""


class OldEngine:
    """Runs a task for whoever the context says, if it says it."""

    def __init__(self, registry, manager, context=None, *, verbose=False):
        self.registry, self.manager, self.context = registry, manager, context

    def run(self, task):
        return f"{task} for {self.context}"
''',
    "shop/engine.py": '''\
"""The one engine."""


class UserEngine:
    """Runs a task for one user, who is always known."""

    def __init__(self, parts, user_context):
        self.parts, self.context = parts, user_context

    @classmethod
    def from_registry(cls, registry, bridge, user_context):
        return cls((registry, bridge), user_context)

    def run(self, task):
        return f"{task} for {self.context}"
''',
    "shop/orders.py": '''\
"""Orders."""

from shop.old import OldEngine  # the engine


def ship(registry, user):
    # An OldEngine for each order: it is cheap.
    engine = OldEngine(
        registry,
        manager=None,  # nobody listens
        context=user,
        verbose=True,
    )
    return engine.run("OldEngine ships")
''',
    "shop/reports.py": '''\
"""Reports, which nobody has told yet whom they are for."""

from shop.old import OldEngine


def daily(registry, user_context):
    return OldEngine(registry, None).run(f"the day of {user_context}")
''',
    "tests/__init__.py": "",
    "tests/test_orders.py": """\
import unittest
from unittest.mock import Mock, patch

from shop import orders
from shop.old import OldEngine


class Orders(unittest.TestCase):
    def test_an_order_is_shipped_for_its_user(self):
        self.assertEqual(orders.ship({}, "ada"), "OldEngine ships for ada")

    def test_the_engine_is_asked_once(self):
        engine = Mock(spec=OldEngine)
        engine.run.return_value = "done"
        self.assertEqual(engine.run("x"), "done")

    def test_nothing_is_shipped_without_an_engine(self):
        with patch("shop.orders.OldEngine"):
            self.assertNotEqual(orders.ship({}, "ada"), "OldEngine ships for ada")


if __name__ == "__main__":
    unittest.main()
""",
}


def write(folder: Path) -> None:
    """Writes the code base into a folder."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("say the folder that is to be made")
    write(Path(sys.argv[1]))
