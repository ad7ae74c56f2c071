"""D and S: every way by which a deprecated symbol is imported, passed on, used and named; and who is not it."""

import pytest
from tests.unit.migrate.tree import found, report

OLD = {
    "app/old.py": """
        class ExecutionEngine:
            def __init__(self, registry, websocket_manager, user_context=None): ...
            @classmethod
            def create(cls): ...
        def own():
            return ExecutionEngine(1, 2)
    """,
    "app/engine.py": """
        class UserExecutionEngine:
            @classmethod
            def from_registry(cls, registry, websocket_bridge, user_context): ...
    """,
    "ssot.toml": """
        [[canonical]]
        symbol = "app.engine.UserExecutionEngine"
        deprecated = ["app.old.ExecutionEngine"]
        [canonical.call]
        to = "from_registry"
    """,
}


def uses(tmp_path, text, **more):
    files = {**OLD, **more, "app/user.py": text}
    return [each.removeprefix("app/user.py:") for each in found(tmp_path, files, "D") if each.startswith("app/user.py")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("from app.old import ExecutionEngine", ["1 D001 error"]),
        ("from .old import ExecutionEngine as E", ["1 D001 error"]),
        ("from app.old import *", ["1 D001 error"]),
        ("import app.old", []),
        ("import app.old\napp.old.ExecutionEngine(1, 2)", ["2 D003 error"]),
        ("import app.old as o\no.ExecutionEngine.create()", ["2 D003 error"]),
        ("from app import old\nx: old.ExecutionEngine", ["2 D003 warning"]),
        ("from app.old import ExecutionEngine as E\nx: 'list[E]'", ["1 D001 error", "2 D003 warning"]),
        ("from app.old import ExecutionEngine as E\nclass S(E): ...", ["1 D001 error", "2 D005 error"]),
        ("from app.old import ExecutionEngine as E\nisinstance(1, (int, E))", ["1 D001 error", "2 D003 warning"]),
        (
            "from app.old import ExecutionEngine as E\ndef f():\n    try: ...\n    except E: ...",
            ["1 D001 error", "4 D003 warning"],
        ),
        (
            "from app.old import ExecutionEngine\nOld = ExecutionEngine",
            ["1 D001 error", "2 D004 warning", "2 D003 warning"],
        ),
        ("__all__ = ['ExecutionEngine']\nfrom app.old import ExecutionEngine", ["2 D004 error"]),
        (
            "def f():\n    from app.old import ExecutionEngine as E\n    return E(1, 2)",
            ["2 D001 warning", "3 D003 error"],
        ),
        (
            "def f():\n    from app.old import ExecutionEngine\n    E = ExecutionEngine\n    return E(1, 2)",
            ["2 D001 warning", "3 D003 warning", "4 D003 error"],
        ),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from app.old import ExecutionEngine",
            ["3 D001 note"],
        ),
        (
            "try:\n    from app.old import ExecutionEngine as E\nexcept ImportError:\n    E = None\nE(1, 2)",
            ["2 D001 warning", "5 D003 error"],
        ),
    ],
)
def test_a_deprecated_symbol_is_found_however_it_comes(tmp_path, text, expected):
    assert uses(tmp_path, text) == expected


def test_a_chain_of_re_exports_is_told_with_every_hop(tmp_path):
    files = {
        **OLD,
        "app/one.py": "from app.old import ExecutionEngine as Engine",
        "app/two.py": "from .one import *",
        "app/three/__init__.py": "from app.two import Engine as Motor",
        "app/user.py": "from app.three import Motor",
    }
    findings = [each for each in report(tmp_path, files).findings if each.path == "app/user.py"]
    assert [each.rule for each in findings] == ["D002"]
    assert [(hop.path, hop.line, hop.name) for hop in findings[0].chain] == [
        ("app/user.py", 1, "app.user.Motor"),
        ("app/three/__init__.py", 1, "app.three.Motor"),
        ("app/two.py", 1, "app.two.Engine"),
        ("app/one.py", 1, "app.one.Engine"),
        ("app/old.py", 1, "app.old.ExecutionEngine"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "from app.other import ExecutionEngine\nExecutionEngine()",
        "class ExecutionEngine: ...\nExecutionEngine()",
        "from app import old\ndef f(old):\n    return old.ExecutionEngine()",
        "from app import old\n[old.ExecutionEngine for old in ()]",
        "def f(ExecutionEngine):\n    return ExecutionEngine()",
        "x = 'app.old is told of here, ExecutionEngine too'",
        "class A:\n    from app import old\n    def f(self): return old.ExecutionEngine",
    ],
)
def test_another_symbol_of_the_same_name_is_not_it(tmp_path, text):
    assert uses(tmp_path, text, **{"app/other.py": "class ExecutionEngine: ..."}) == []


def test_the_module_of_a_deprecated_symbol_may_use_it(tmp_path):
    assert found(tmp_path, OLD, "D") == []


def test_an_alias_of_the_canonical_symbol_can_be_deprecated_and_the_symbol_itself_is_not(tmp_path):
    files = {
        "app/engine.py": "class Engine: ...\nOldEngine = Engine",
        "app/user.py": "from app.engine import Engine, OldEngine\nEngine()\nOldEngine()",
        "ssot.toml": '[[canonical]]\nsymbol = "app.engine.Engine"\ndeprecated = ["app.engine.OldEngine"]',
    }
    assert found(tmp_path, files, "D") == ["app/user.py:1 D001 error", "app/user.py:3 D003 error"]


def test_every_name_of_a_deprecated_module_is_deprecated(tmp_path):
    files = {
        "app/all_old.py": "class A: ...\ndef b(): ...",
        "app/new.py": "class C: ...",
        "app/user.py": "from app.all_old import A, b\nb()",
        "ssot.toml": '[[canonical]]\nsymbol = "app.new.C"\ndeprecated = ["app.all_old.*"]',
    }
    assert found(tmp_path, files, "D") == [
        "app/user.py:1 D001 error",
        "app/user.py:1 D001 error",
        "app/user.py:2 D003 error",
    ]


def test_a_symbol_is_found_under_a_root_and_under_an_alias_of_its_package(tmp_path):
    files = {
        "src/backend/app/old.py": "class Old: ...",
        "src/backend/app/new.py": "class New: ...",
        "src/backend/app/user.py": "from app.old import Old\nfrom backend.app.old import Old as Same",
        "ssot.toml": """
            [project]
            roots = ["src"]
            root_aliases = { app = "backend.app" }
            [[canonical]]
            symbol = "app.new.New"
            deprecated = ["app.old.Old"]
        """,
    }
    (tmp_path / "src").mkdir()
    expected = ["src/backend/app/user.py:1 D001 error", "src/backend/app/user.py:2 D001 error"]
    assert found(tmp_path, files, "D", "R") == expected


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("E(1, 2)", None),
        ("E(1, websocket_manager=2)", None),
        ("E(1, websocket_bridge=2, user_context=3)", None),  # fits the new one
        ("E(*args)", None),
        ("E(1, **more)", None),
        ("E(1)", "it lacks websocket_manager"),
        ("E(1, 2, 3, 4)", "it takes 3 positional arguments and is given 4"),
        ("E(1, 2, registry=3)", "it is given registry twice"),
        ("E(1, 2, bridge=3)", "it takes no bridge"),
    ],
)
def test_a_call_that_fits_no_signature_is_told_with_the_reason(tmp_path, call, why):
    text = f"from app.old import ExecutionEngine as E\n{call}"
    told = [each.message for each in report(tmp_path, {**OLD, "app/user.py": text}).findings if each.rule == "D006"]
    assert [message.rpartition(": ")[2] for message in told] == ([why] if why else [])


def test_strings_that_are_looked_up_are_found_where_their_consumer_takes_the_name_from(tmp_path):
    files = {
        **OLD,
        "app/user.py": "from app.old import ExecutionEngine",
        "tests/test_user.py": """
            from unittest.mock import patch
            import importlib

            @patch("app.user.ExecutionEngine")
            def test_one(double):
                with patch("app.user.Gone"), patch("app.old.ExecutionEngine.create", autospec=True):
                    importlib.import_module("app.old")
            WIRED = "app.old:ExecutionEngine"
            # "app.old.ExecutionEngine"
            ELSEWHERE = "app.engine.UserExecutionEngine", "os.path", "app.nothing.at_all"
        """,
    }
    assert found(tmp_path, files, "S") == [
        "tests/test_user.py:4 S001 warning",
        "tests/test_user.py:6 S002 warning",
        "tests/test_user.py:6 S001 warning",
        "tests/test_user.py:8 S001 note",
    ]
