"""A small code base with an old engine and a new one, and what is planned for a file that uses the old one."""

from netra_apex.migrate.applying import edited
from netra_apex.migrate.config import load
from netra_apex.migrate.planning import planned
from tests.support.moved_tree import write

PLAIN = """
[[canonical]]
symbol = "app.engine.UserEngine"
role = "Engine"
deprecated = ["app.old.OldEngine"]
"""
FACTORY = (
    PLAIN
    + """
[canonical.call]
to = "from_registry"
rename = { manager = "bridge", ctx = "user_context" }
drop = ["verbose"]
required = ["user_context"]
defaults = { retries = "3" }
"""
)
ORDERED = FACTORY.replace('to = "from_registry"', 'to = "ordered"').replace('defaults = { retries = "3" }\n', "")
OLD = '''"""The old engine; OldEngine is gone soon."""


class OldEngine:
    KIND = "engine"

    def __init__(self, registry, manager, ctx=None, *, verbose=False):
        self.said = ("engine", registry, manager, ctx)

    def run(self, text):
        return (*self.said, text)

    @classmethod
    def create(cls, registry):
        return cls(registry, None)


class Unrelated:
    pass
'''
SAME = OLD.replace("OldEngine", "UserEngine").replace('"""The old engine; UserEngine is gone soon."""', "")
NEW = """
class UserEngine:
    KIND = "engine"

    def __init__(self, said):
        self.said = said

    @classmethod
    def ordered(cls, user_context, registry, *, bridge):
        return cls(("engine", registry, bridge, user_context))

    @classmethod
    def from_registry(cls, registry, bridge, user_context, retries=0):
        return cls(("engine", registry, bridge, user_context))

    def run(self, text):
        return (*self.said, text)
"""
OTHER = OLD.replace('"engine"', '"another class of the same name"')


def make(root, files, configuration=PLAIN, engine=None):
    """Writes the code base with more files."""
    engine = engine or (SAME if configuration is PLAIN else NEW)
    base = {"app/__init__.py": "", "app/old.py": OLD, "app/engine.py": engine, "app/other.py": OTHER}
    write(root, {"ssot.toml": configuration, **base, **files})


def plan(root):
    """What is planned for it."""
    return planned(root, load(root))


def after(root, found):
    """The text of each file that is changed, as it would be."""
    return {
        file.path: edited((root / file.path).read_bytes(), file).decode(file.encoding)
        for unit in found.units
        for file in unit.files
    }


def apply(root, found):
    """Writes what is planned, without a runner."""
    for path, data in {
        file.path: edited((root / file.path).read_bytes(), file) for unit in found.units for file in unit.files
    }.items():
        (root / path).write_bytes(data)
