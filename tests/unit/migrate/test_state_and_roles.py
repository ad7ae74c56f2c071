"""U, G, I and P: classes for one role, state that is shared, interfaces, and patterns."""

import pytest
from tests.unit.migrate.tree import found, report

from netra_apex.errors import ConfigurationError
from netra_apex.migrate.rules_roles import role


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ExecutionEngine", "ExecutionEngine"),
        ("UserExecutionEngine", "ExecutionEngine"),
        ("UnifiedToolRegistryV2", "ToolRegistry"),
        ("EnhancedToolRegistry", "ToolRegistry"),
        ("WebSocketManager", "WebSocketManager"),
        ("HTTPClient", "HTTPClient"),
        ("BaseEngine", ""),
        ("MockToolRegistry", ""),
        ("IExecutionEngine", ""),
        ("Engine", ""),
        ("Invoice", ""),
        ("EngineError", ""),
    ],
)
def test_a_role_is_what_is_left_of_a_name_without_the_words_that_say_again(name, expected):
    assert role(name) == expected


def test_classes_of_one_name_and_of_one_role_are_told_and_tests_are_left_out(tmp_path):
    files = {
        "app/a.py": "class ToolRegistry: ...",
        "app/b.py": "class ToolRegistry: ...",
        "app/c.py": "class ExecutionEngine: ...\nclass Invoice: ...",
        "app/d.py": "class UnifiedExecutionEngine: ...\nclass Invoice: ...",
        "app/e.py": "def f():\n    class ToolRegistry: ...\nclass _ToolRegistry: ...\nclass A:\n class ToolRegistry: 0",
        "app/tests/test_a.py": "class ToolRegistry: ...",
        "other/a.py": "class ToolRegistry: ...",
    }
    expected = [
        "app/a.py:1 U001 warning",
        "app/b.py:1 U001 warning",
        "app/c.py:1 U002 warning",
        "app/d.py:1 U002 warning",
    ]
    assert found(tmp_path, files, "U") == expected
    settled = '[[canonical]]\nsymbol = "app.a.ToolRegistry"\ndeprecated = ["app.b.ToolRegistry"]'
    assert found(tmp_path, {"ssot.toml": settled}, "U") == expected[2:]


STATE = {
    "app/state.py": """
        from collections import defaultdict
        CACHE = {}
        SEEN: set[str] = set()
        NAMES = ["a"]
        COUNTS = defaultdict(int)
        CURRENT = None
        FIXED = ("a",)

        def put(key, value):
            CACHE[key] = value
            COUNTS[key] += 1

        def renew():
            global CURRENT
            CURRENT = object()

        def own():
            SEEN = set()
            SEEN.add(1)
            for NAMES in (): NAMES.append(1)

        class Service:
            listeners = []
            options = {}
            mine = []
            __slots__ = []
            def __init__(self): self.mine = []
            def listen(self, listener): self.listeners.append(listener)
            def add(self): self.mine.append(1)
            @classmethod
            def set(cls, key): cls.options[key] = 1
    """,
    "app/other.py": """
        from app import state
        from app.state import SEEN as seen
        def note(x):
            async def inner(): seen.add(x)
            del state.COUNTS[x]
    """,
}


def test_state_that_functions_change_is_told_wherever_they_are_and_what_is_their_own_is_not(tmp_path):
    assert found(tmp_path, STATE, "G001", "G002", "G003") == [
        "app/state.py:2 G001 warning",
        "app/state.py:3 G001 warning",
        "app/state.py:5 G001 warning",
        "app/state.py:14 G002 warning",
        "app/state.py:23 G003 warning",
        "app/state.py:24 G003 warning",
    ]
    counts = next(each for each in report(tmp_path).findings if each.line == 5)
    assert [(hop.path, hop.line) for hop in counts.chain] == [("app/other.py", 5), ("app/state.py", 11)]
    assert found(tmp_path, {}, "G004") == ["app/state.py:4 G004 note"]


def test_state_that_requests_reach_is_worse_than_state_that_they_do_not(tmp_path):
    files = {
        **STATE,
        "app/routes.py": "from app.state import put",
        "app/script.py": "JOBS = []\ndef add(): JOBS.append(1)",
        "ssot.toml": '[project]\nentry = ["app.routes"]',
    }
    told = found(tmp_path, files, "G001", "G002")
    assert told == [
        "app/script.py:1 G001 note",
        "app/state.py:2 G001 error",
        "app/state.py:3 G001 note",
        "app/state.py:5 G001 error",
        "app/state.py:14 G002 warning",
    ]


INTERFACE = {
    "app/ports.py": """
        from abc import ABC, abstractmethod
        class IEngine(ABC):
            @abstractmethod
            async def run(self, task, scope, *, limit=1): ...
            @abstractmethod
            def stop(self): ...
            def name(self): return ""
    """,
    "ssot.toml": '[[interface]]\nbase = "app.ports.IEngine"',
}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("async def run(self, task, scope, *, limit=1): ...\n    def stop(self): ...", []),
        ("async def run(self, *args, **kwargs): ...\n    def stop(self, now=False): ...", []),
        ("async def run(self, task, scope, *, limit=1): ...", ["I001"]),
        ("def run(self, task, scope, *, limit=1): ...\n    def stop(self): ...", ["I002"]),
        ("async def run(self, scope, task, *, limit=1): ...\n    def stop(self): ...", ["I003"]),
        ("async def run(self, task, scope): ...\n    def stop(self): ...", ["I003"]),
        ("async def run(self, task, scope, *, limit): ...\n    def stop(self): ...", []),
        ("async def run(self, task, scope, *, limit=1): ...\n    def stop(self, now): ...", ["I003"]),
        (
            "async def run(self, task, scope, limit=1): ...\n    async def stop(self): ...\n    def name(self, x): ...",
            ["I002", "I003"],
        ),
    ],
)
def test_a_class_below_an_interface_is_what_it_asks_for(tmp_path, body, expected):
    files = {
        **INTERFACE,
        "app/again.py": "from app.ports import IEngine as Port",
        "app/mine.py": f"import app.again as a\nclass Mine(a.Port):\n    {body}",
    }
    assert [each.split()[1] for each in found(tmp_path, files, "I")] == expected


def test_what_a_base_between_brings_counts_and_who_is_abstract_himself_may_lack_it(tmp_path):
    text = """
        from app.ports import IEngine
        from elsewhere import Unknown
        class Half(IEngine):
            def stop(self): ...
        class Mixin:
            async def run(self, task, scope, *, limit=1): ...
        class Whole(Mixin, Half): ...
        class Lacks(Half): ...
        class Open(Half, Unknown): ...
    """
    assert found(tmp_path, {**INTERFACE, "app/mine.py": text}, "I") == ["app/mine.py:8 I001 error"]


def forbidden(tmp_path, pattern, text, **more):
    files = {"app/user.py": text, "ssot.toml": f"[[forbid]]\npattern = {pattern!r}", **more}
    return [int(each.split(":")[1].split()[0]) for each in found(tmp_path, files, "P")]


@pytest.mark.parametrize(
    ("pattern", "text", "lines"),
    [
        ("os.environ[$K]", "import os\nos.environ['A']\nos.environ\nos.environ.get('A')", [2]),
        ("os.environ[$K]", "from os import environ as e\ne['A']", [2]),
        ("os.environ[$K]", "class os:\n    environ = {}\nos.environ['A']", []),
        ("os.environ[$K]", "def f(os):\n    return os.environ['A']", []),
        ("print($$$)", "print(1, 2, end='')\nprint()\nx.print()", [1, 2]),
        ("print($$$)", "def print(*a): ...\nprint(1)", []),
        (
            "app.old.make($A, $$$, flag=True)",
            "from app.old import make as m\nm(1, 2, flag=True)\nm(1, flag=False)\nm(flag=True)",
            [2],
        ),
        ("$X == $X", "import os\na.b == a.b\na.b == a.c", [2]),
        ("datetime.datetime.now()", "from datetime import datetime\ndatetime.now()\ndatetime.now(1)", [2]),
        ("os.environ", "import os\nos.environ['A']\nx = os.environ", [2, 3]),
    ],
)
def test_a_pattern_is_matched_after_names_are_resolved(tmp_path, pattern, text, lines):
    assert forbidden(tmp_path, pattern, text, **{"app/old.py": "def make(): ..."}) == lines


def test_a_pattern_has_its_severity_and_the_files_that_may(tmp_path):
    files = {
        "app/user.py": "import os\nos.environ['A']",
        "app/settings.py": "import os\nos.environ['A']",
        "ssot.toml": """
            [[forbid]]
            pattern = "os.environ[$K]"
            except = ["app/settings.py"]
            severity = "error"
        """,
    }
    assert found(tmp_path, files, "P") == ["app/user.py:2 P001 error"]


def test_a_pattern_that_is_no_expression_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="is no Python expression"):
        forbidden(tmp_path, "import $X", "")
