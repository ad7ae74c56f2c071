"""R, C, M and E: imports that lead nowhere, cycles, modules that hide each other, files that do not parse."""

import os

import pytest
from tests.unit.migrate.tree import found, report, write

PACKAGE = {"app/there.py": "def name(): ...\nvalue: int", "app/__init__.py": "from app.there import name as passed"}


def unresolved(tmp_path, text, **more):
    files = {**PACKAGE, **more, "app/user.py": text}
    return [each.removeprefix("app/user.py:") for each in found(tmp_path, files, "R") if each.startswith("app/user.py")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import app.gone", ["1 R001 error"]),
        ("from app import gone", ["1 R002 error"]),
        ("from .there import gone", ["1 R002 error"]),
        ("from . import there, gone", ["1 R002 error"]),
        ("from ... import there", ["1 R001 error"]),
        ("from app.gone import *", ["1 R001 error"]),
        ("from app.gone import a, b as c", ["1 R001 error"]),
        ("def f():\n    import app.gone", ["2 R001 warning"]),
        ("if f():\n    import app.gone", ["2 R001 warning"]),
        (
            "import typing as t\nif t.TYPE_CHECKING:\n    import app.gone\nelse:\n    import app.lost",
            ["3 R001 warning", "5 R001 error"],
        ),
        ("try:\n    import app.gone\nexcept ImportError:\n    import app.lost", ["2 R001 note", "4 R001 note"]),
        ("try:\n    import app.gone\nexcept (ModuleNotFoundError, OSError):\n    gone = None", ["2 R001 note"]),
        ("try:\n    import app.gone\nexcept ValueError:\n    pass", ["2 R001 error"]),
        ("from contextlib import suppress\nwith suppress(ImportError):\n    import app.gone", ["3 R001 note"]),
        ("from app import passed, there\nfrom app.there import value\nimport app.there as t, os.path", []),
        ("import json, os.path, unittest.mock, not_installed_and_nobody_knows", []),
        ("from app.there import __doc__, __file__", []),
    ],
)
def test_an_import_that_leads_nowhere_is_as_bad_as_its_guards_let_it_be(tmp_path, text, expected):
    assert unresolved(tmp_path, text) == expected


@pytest.mark.parametrize(
    "makes",
    [
        "def __getattr__(name): ...",
        "globals().update(anything=1)",
        "exec('anything = 1')",
        "try:\n    from app.gone import anything\nexcept ImportError:\n    anything = None",
        "for anything in (): ...",
        "with open('x') as anything: ...",
        "(one, [*anything]) = f()",
        "if f():\n    anything = 1",
        "while f():\n    anything = 1",
        "anything: int",
    ],
)
def test_a_name_that_a_module_makes_in_any_way_is_there(tmp_path, makes):
    assert unresolved(tmp_path, "from app.maker import anything", **{"app/maker.py": makes}) == []


def test_a_star_takes_what_all_says_or_what_is_public(tmp_path):
    more = {
        "app/open.py": "one = 1\n_two = 2",
        "app/closed.py": "__all__ = ['_two']\n__all__ += ['three']\none = 1\n_two = 2\nthree = 3",
        "app/a.py": "from app.open import *",
        "app/b.py": "from app.closed import *",
    }
    text = "from app.a import one, _two\nfrom app.b import one, _two, three"
    assert unresolved(tmp_path, text, **more) == ["1 R002 error", "2 R002 error"]


def test_modules_that_take_everything_from_each_other_end(tmp_path):
    more = {"app/a.py": "from app.b import *\none = 1", "app/b.py": "from app.a import *\ntwo = 2"}
    assert unresolved(tmp_path, "from app.a import two\nfrom app.b import one, gone", **more) == ["2 R002 error"]


def test_what_is_not_installed_is_told_only_where_an_environment_is_known(tmp_path):
    assert unresolved(tmp_path, "import numpy, pandas.core") == []
    (tmp_path / ".venv" / "lib" / "python3.11" / "site-packages" / "numpy").mkdir(parents=True)
    assert unresolved(tmp_path, "import numpy, pandas.core") == ["1 R003 error"]


def test_a_package_of_folders_without_init_and_a_script_beside_its_module_are_found(tmp_path):
    files = {
        "plain/deep/one.py": "x = 1",
        "plain/two.py": "from plain.deep.one import x\nfrom plain.deep import one, gone",
        "plain-scripts/run.py": "import beside\nfrom beside import y, gone",
        "plain-scripts/beside.py": "y = 1",
    }
    assert found(tmp_path, files, "R") == ["plain-scripts/run.py:2 R002 error", "plain/two.py:2 R002 error"]


def test_a_stub_and_a_compiled_module_may_have_any_name(tmp_path):
    files = {
        "app/user.py": "from app.fast import x\nfrom app import fast, slow\nimport app.slow.deep",
        "app/fast.pyi": "",
    }
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "slow.cpython-311-x86_64-linux-gnu.so").touch()
    assert found(tmp_path, files, "R") == []


def test_without_a_configuration_the_folders_that_hold_packages_are_roots(tmp_path):
    files = {"src/pkg/one.py": "x = 1", "src/pkg/two.py": "from pkg.one import x, gone", "src/pkg/__init__.py": ""}
    (tmp_path / "src").mkdir()
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    assert found(tmp_path, {}, "R") == ["src/pkg/two.py:1 R002 error"]


def test_what_the_entries_do_not_reach_is_one_step_less_severe(tmp_path):
    files = {
        "app/routes.py": "import app.used",
        "app/used.py": "import app.gone",
        "app/lonely.py": "import app.gone",
        "ssot.toml": '[project]\nentry = ["app.routes"]',
    }
    assert found(tmp_path, files, "R") == ["app/lonely.py:1 R001 warning", "app/used.py:1 R001 error"]


# Cycles


def test_cycles_are_told_by_what_closes_them_once_each_with_their_way(tmp_path):
    files = {
        "app/a.py": "from app.b import x",
        "app/b.py": "from app import c\nx = 1",
        "app/c.py": "import app.a",
        "app/d.py": "from app import e",
        "app/e.py": "def f():\n    from app.d import g",
        "app/g.py": "import app.h",
        "app/h.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import app.g",
    }
    told = [each for each in report(tmp_path, files).findings if each.rule[0] == "C"]
    assert [(each.rule, each.path, each.line, each.severity) for each in told] == [
        ("C001", "app/a.py", 1, "warning"),
        ("C002", "app/d.py", 1, "note"),
        ("C003", "app/g.py", 1, "note"),
    ]
    assert [(hop.path, hop.line, hop.name) for hop in told[0].chain] == [
        ("app/a.py", 1, "app.b"),
        ("app/b.py", 1, "app.c"),
        ("app/c.py", 1, "app.a"),
    ]


def test_a_package_that_imports_its_modules_is_no_cycle_unless_they_take_its_names(tmp_path):
    files = {"app/__init__.py": "from app.one import x", "app/one.py": "from app import two\nx = 1", "app/two.py": ""}
    assert found(tmp_path, files, "C") == []
    files["app/two.py"] = "from app import x"
    assert found(tmp_path, files, "C") == ["app/__init__.py:1 C001 warning"]


# Shadows and faults


def test_modules_that_hide_each_other_are_told(tmp_path):
    files = {
        "app/one.py": "x = 1",
        "app/one/__init__.py": "y = 1",
        "logging.py": "",
        "app/logging.py": "",
        "user.py": "from app.one import y, x",
    }
    assert found(tmp_path, files, "M", "R") == [
        "app/one.py:1 M001 error",
        "logging.py:1 M002 warning",
        "user.py:1 R002 error",
    ]


def test_files_that_do_not_parse_are_told_and_all_else_is_audited(tmp_path):
    write(
        tmp_path,
        {
            "app/good.py": "import app.gone",
            "app/bad.py": "from app.gone import (\n    x,\n    y as z)\nimport app.good\nprint 'x'\n",
        },
    )
    (tmp_path / "app" / "null.py").write_bytes(b"x = 1\0")
    (tmp_path / "app" / "latin.py").write_bytes(b"# coding: no-such-code\nx = 1\n")
    (tmp_path / "app" / "bytes.py").write_bytes(b"x = '\xff'\n")
    (tmp_path / "app" / "deep.py").write_text("x = " + "(" * 5000 + ")" * 5000)
    got = report(tmp_path)
    assert [each.path for each in got.unparsed] == [
        "app/bad.py",
        "app/bytes.py",
        "app/deep.py",
        "app/latin.py",
        "app/null.py",
    ]
    assert all(each.reason for each in got.unparsed)
    told = [f"{each.path}:{each.line} {each.rule} {each.severity}" for each in got.findings if each.rule[0] in "ER"]
    assert told == [
        "app/bad.py:1 R001 note",
        "app/bad.py:5 E001 error",
        "app/bytes.py:1 E001 error",
        "app/deep.py:1 E001 error",
        "app/good.py:1 R001 error",
        "app/latin.py:1 E001 error",
        "app/null.py:1 E001 error",
    ]
    assert got.files == 7


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_nobody_may_read_is_told(tmp_path):
    write(tmp_path, {"app/shut.py": ""})
    (tmp_path / "app" / "shut.py").chmod(0)
    assert found(tmp_path, {}, "E") == ["app/shut.py:1 E002 error"]


def test_a_link_that_leads_nowhere_is_told(tmp_path):
    (tmp_path / "lost.py").symlink_to(tmp_path / "nowhere.py")
    assert found(tmp_path, {}, "E") == ["lost.py:1 E002 error"]
