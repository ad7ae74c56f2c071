"""Plans for labelled cases: every rewrite that is required is right, every refusal has its reason, all else stays."""

import json
import subprocess
import sys

import pytest
from tests.support.moved_tree import write
from tests.support.old_and_new import FACTORY, ORDERED, PLAIN, after, apply, make, plan

from netra_apex.migrate.differences import diff_of
from netra_apex.migrate.edits import REASONS

IMPORT = "from app.old import OldEngine\n"
# name: (configuration, text before, text after) of one file, app/use.py.
MOVED = {
    "a name and its uses": (
        PLAIN,
        IMPORT + "def f(r) -> OldEngine:\n    return OldEngine(r, 1)  # OldEngine\n",
        "from app.engine import UserEngine\ndef f(r) -> UserEngine:\n    return UserEngine(r, 1)  # OldEngine\n",
    ),
    "an alias keeps its name": (
        PLAIN,
        "from app.old import OldEngine as E\nx = E(1, 2)\n",
        "from app.engine import UserEngine as E\nx = E(1, 2)\n",
    ),
    "one of several names on a line": (
        PLAIN,
        "from app.old import OldEngine, Unrelated  # both\nx = OldEngine(1, Unrelated)\n",
        "from app.old import Unrelated  # both\nfrom app.engine import UserEngine\nx = UserEngine(1, Unrelated)\n",
    ),
    "one of several names on lines of their own": (
        PLAIN,
        "from app.old import (\n    Unrelated,  # kept\n    OldEngine,\n)\nx = OldEngine(1, 2)\n",
        "from app.old import (\n    Unrelated,  # kept\n)\nfrom app.engine import UserEngine\nx = UserEngine(1, 2)\n",
    ),
    "a relative import stays relative": (
        PLAIN,
        "from .old import OldEngine\n\nOldEngine\n",
        "from .engine import UserEngine\n\nUserEngine\n",
    ),
    "an import in a function": (
        PLAIN,
        "def f():\n    from app.old import OldEngine\n    return OldEngine(1, 2)\nOldEngine = 3\n",
        "def f():\n    from app.engine import UserEngine\n    return UserEngine(1, 2)\nOldEngine = 3\n",
    ),
    "the twin of a failed import": (
        PLAIN,
        (
            "try:\n    from app.old import OldEngine\n"
            "except ImportError:\n"
            "    OldEngine = None\nx = OldEngine and OldEngine(1, 2)\n"
        ),
        (
            "try:\n    from app.engine import UserEngine\n"
            "except ImportError:\n"
            "    UserEngine = None\n"
            "x = UserEngine and UserEngine(1, 2)\n"
        ),
    ),
    "the twin for the type checker": (
        PLAIN,
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from app.old import OldEngine\n"
            "def f(x: 'OldEngine | None', y: \"list[OldEngine]\"):\n"
            "    from app.old import OldEngine as E\n"
            "    return E(1, 2)\n"
        ),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from app.engine import UserEngine\n"
            "def f(x: 'UserEngine | None', y: \"list[UserEngine]\"):\n"
            "    from app.engine import UserEngine as E\n"
            "    return E(1, 2)\n"
        ),
    ),
    "isinstance, cast, spec, except, subscripts": (
        PLAIN,
        "from typing import Optional, cast\nfrom unittest.mock import Mock\n"
        + IMPORT
        + "ok = isinstance(1, (int, OldEngine))\n"
        "m = Mock(spec=OldEngine)\n"
        "T = Optional[OldEngine]\nc = cast('OldEngine', m)\n",
        (
            "from typing import Optional, cast\nfrom unittest.mock import Mock\nfrom app.engine import UserEngine\n"
            "ok = isinstance(1, (int, UserEngine))\n"
            "m = Mock(spec=UserEngine)\n"
            "T = Optional[UserEngine]\nc = cast('UserEngine', m)\n"
        ),
    ),
    "a subclass that changes nothing of it": (
        PLAIN,
        IMPORT + "class Mine(OldEngine):\n    def more(self):\n        return 1\n",
        "from app.engine import UserEngine\nclass Mine(UserEngine):\n    def more(self):\n        return 1\n",
    ),
    "members": (
        PLAIN,
        IMPORT + "x = OldEngine.KIND, OldEngine.create(1)\n",
        "from app.engine import UserEngine\nx = UserEngine.KIND, UserEngine.create(1)\n",
    ),
    "a module": (
        PLAIN,
        "import app.old\nx = app.old.OldEngine(1, 2)\n",
        "import app.engine\nx = app.engine.UserEngine(1, 2)\n",
    ),
    "a module that is used for more": (
        PLAIN,
        "import app.old\nx = app.old.OldEngine(1, app.old.Unrelated)\n",
        "import app.old, app.engine\nx = app.engine.UserEngine(1, app.old.Unrelated)\n",
    ),
    "a module from its package": (
        PLAIN,
        "from app import old\nx = old.OldEngine(1, 2)\n",
        "from app import engine\nx = engine.UserEngine(1, 2)\n",
    ),
    "a factory, names, defaults and what is dropped": (
        FACTORY,
        IMPORT + "def f(r, u):\n    return OldEngine(r, None, u), OldEngine(r, ctx=u, manager=1, verbose=True)\n",
        (
            "from app.engine import UserEngine\ndef f(r, u):\n"
            "    return UserEngine.from_registry(r, None, u, retries=3), "
            "UserEngine.from_registry(r, user_context=u, bridge=1, retries=3)\n"
        ),
    ),
    "another order keeps the order in which arguments are evaluated": (
        ORDERED,
        IMPORT + "def f(r, u):\n    return OldEngine(r, None, u), OldEngine(ctx=u, manager=1, registry=r)\n",
        (
            "from app.engine import UserEngine\ndef f(r, u):\n"
            "    return UserEngine.ordered(registry=r, bridge=None, user_context=u), "
            "UserEngine.ordered(user_context=u, bridge=1, registry=r)\n"
        ),
    ),
    "a call of many lines": (
        FACTORY,
        IMPORT
        + "def f(r, u):\n    return OldEngine(\n        r,  # the registry\n        manager=[\n            1, 2],\n"
        "        ctx=(u),\n        verbose=False,\n    )\n",
        (
            "from app.engine import UserEngine\ndef f(r, u):\n"
            "    return UserEngine.from_registry(\n"
            "        r,  # the registry\n"
            "        bridge=[\n            1, 2],\n        user_context=(u),\n        retries=3,\n    )\n"
        ),
    ),
    "a call in a call": (
        FACTORY,
        IMPORT + "def f(u):\n    return OldEngine(OldEngine(1, 2, u), 3, ctx=u)\n",
        (
            "from app.engine import UserEngine\ndef f(u):\n    return UserEngine.from_registry("
            "UserEngine.from_registry(1, 2, u, retries=3), 3, user_context=u, retries=3)\n"
        ),
    ),
    "a call in an annotation": (
        FACTORY,
        IMPORT + "def f(x: (OldEngine, OldEngine(1, 2, 3)) = None):\n    pass\n",
        (
            "from app.engine import UserEngine\n"
            "def f(x: (UserEngine, UserEngine.from_registry(1, 2, 3, retries=3)) = None):\n    pass\n"
        ),
    ),
    "another class of the same name": (
        PLAIN,
        IMPORT + "from app import other\nclass Holder:\n    OldEngine = other.OldEngine\n"
        "def f(OldEngine):\n    return OldEngine(1)\ndef g():\n    return OldEngine(1, 2), Holder.OldEngine(1, 2)\n",
        (
            "from app.engine import UserEngine\nfrom app import other\nclass Holder:\n    OldEngine = other.OldEngine\n"
            "def f(OldEngine):\n    return OldEngine(1)\ndef g():\n"
            "    return UserEngine(1, 2), Holder.OldEngine(1, 2)\n"
        ),
    ),
    "a comprehension and a walrus": (
        PLAIN,
        IMPORT + "x = [OldEngine(y, 2) for y in (1,) if (z := OldEngine)]\n",
        "from app.engine import UserEngine\nx = [UserEngine(y, 2) for y in (1,) if (z := UserEngine)]\n",
    ),
    "text of a format": (
        PLAIN,
        IMPORT + 'x = f"OldEngine {OldEngine.KIND}"\n',
        'from app.engine import UserEngine\nx = f"OldEngine {UserEngine.KIND}"\n',
    ),
}
# name: (configuration, text of app/use.py, reason code)
LEFT = {
    "the new name is taken": (PLAIN, IMPORT + "UserEngine = 1\nx = OldEngine(1, 2)\n", "capture"),
    "an inner scope has the new name": (PLAIN, IMPORT + "def f(UserEngine):\n    return OldEngine(1, 2)\n", "capture"),
    "a further scope has the new name": (
        PLAIN,
        "UserEngine = 1\ndef f():\n    from app.old import OldEngine\n    return OldEngine(1, 2), UserEngine\n",
        "capture",
    ),
    "the name is bound twice": (PLAIN, IMPORT + "OldEngine = print\nOldEngine(1, 2)\n", "ambiguous_binding"),
    "another class stands in": (
        PLAIN,
        (
            "try:\n    from app.old import OldEngine\n"
            "except ImportError:\n"
            "    from app.other import OldEngine\nOldEngine(1, 2)\n"
        ),
        "ambiguous_binding",
    ),
    "the context is missing": (FACTORY, IMPORT + "def f(user, r):\n    return OldEngine(r, 1)\n", "missing_argument"),
    "stars": (FACTORY, IMPORT + "def f(*a, **k):\n    return OldEngine(*a, **k)\n", "dynamic_arguments"),
    "the call does not bind": (PLAIN, IMPORT + "OldEngine()\n", "invalid_call"),
    "what is dropped may do something": (
        FACTORY,
        IMPORT + "OldEngine(1, 2, 3, verbose=print())\n",
        "not_bound",
    ),
    "what is dropped has a comment": (
        FACTORY,
        IMPORT
        + "OldEngine(\n    1, 2, 3,\n    verbose=True,  # loud\n    ctx=None,\n)\n".replace("    ctx=None,\n", ""),
        "call_shape",
    ),
    "a subclass with a constructor": (
        PLAIN,
        IMPORT + "class Mine(OldEngine):\n    def __init__(self):\n        super().__init__(1, 2)\n",
        "subclass",
    ),
    "a subclass with an override": (
        PLAIN,
        IMPORT + "class Mine(OldEngine):\n    def run(self):\n        pass\n",
        "subclass",
    ),
    "a subclass of what is built otherwise": (FACTORY, IMPORT + "class Mine(OldEngine):\n    pass\n", "subclass"),
    "the class as a value": (FACTORY, IMPORT + "make = OldEngine\n", "value_use"),
    "a member that the new one lacks": (FACTORY, IMPORT + "OldEngine.create(1)\n", "missing_member"),
    "a star import": (PLAIN, "from app.old import *\nOldEngine(1, 2)\n", "star_import"),
    "a name looked up": (PLAIN, IMPORT + "globals()['OldEngine'](1, 2)\n", "dynamic_use"),
    "a class that reads the name and binds it": (
        PLAIN,
        IMPORT + "class A:\n    made = OldEngine(1, 2)\n    OldEngine = made\n",
        "ambiguous_binding",
    ),
    "a global statement": (
        PLAIN,
        "def f():\n    global OldEngine\n    from app.old import OldEngine\n    return OldEngine(1, 2)\n",
        "ambiguous_binding",
    ),
    "code in a string": (PLAIN, IMPORT + "eval('OldEngine(1, 2)')\n", "dynamic_use"),
    "a public name that is built otherwise": (FACTORY, IMPORT + "__all__ = ['OldEngine']\n", "public_name"),
    "an import with a comment": (
        PLAIN,
        "from app.old import (\n    OldEngine,  # why\n    Unrelated,\n)\nOldEngine(1, 2)\n",
        "import_shape",
    ),
    "an import among statements": (
        PLAIN,
        "from app.old import OldEngine, Unrelated; x = 1\nOldEngine(1, 2)\n",
        "import_shape",
    ),
    "a file that does not parse": (PLAIN, IMPORT + "def (:\n", "approximate"),
    "a class attribute": (PLAIN, "class A:\n    from app.old import OldEngine\n", "ambiguous_binding"),
}


@pytest.mark.parametrize("name", MOVED)
def test_what_can_be_moved_is_and_nothing_else_changes(name, tmp_path):
    configuration, before, wanted = MOVED[name]
    make(tmp_path, {"app/use.py": before}, configuration)
    found = plan(tmp_path)
    assert found.refusals == ()
    assert after(tmp_path, found) == {"app/use.py": wanted}
    apply(tmp_path, found)
    assert plan(tmp_path).empty


@pytest.mark.parametrize("name", LEFT)
def test_what_cannot_be_proven_is_left_with_its_reason(name, tmp_path):
    configuration, text, code = LEFT[name]
    make(tmp_path, {"app/use.py": text}, configuration)
    found = plan(tmp_path)
    assert {refusal.code for refusal in found.refusals} == {code}
    assert found.units == ()
    assert code in REASONS


def test_a_missing_argument_is_told_with_what_is_in_scope(tmp_path):
    text = (
        IMPORT + "class C:\n    user = 1\ndef f(request_context: 'UserContext', count):\n    return OldEngine(1, 2)\n"
    )
    make(tmp_path, {"app/use.py": text}, FACTORY)
    [refusal] = plan(tmp_path).refusals
    assert (refusal.code, refusal.line, refusal.candidates) == ("missing_argument", 5, ("request_context",))


def test_what_a_test_patches_moves_with_the_module_that_it_patches(tmp_path):
    test = (
        "from unittest.mock import patch\nfrom app import use\n\n"
        "@patch('app.use.OldEngine')\ndef test_a(fake, monkeypatch):\n"
        "    monkeypatch.setattr(use, 'OldEngine', None)\n    monkeypatch.setattr('app.use.OldEngine.run', None)\n"
        "    assert use.OldEngine, 'app.use.OldEngine'\n"
    )
    make(tmp_path, {"app/use.py": IMPORT + "x = OldEngine(1, 2)\n", "tests/test_use.py": test})
    found = plan(tmp_path)
    [unit] = found.units
    assert unit.paths == ("app/use.py", "tests/test_use.py")
    expected = test.replace("OldEngine", "UserEngine").replace("'app.use.UserEngine'\n", "'app.use.OldEngine'\n")
    assert after(tmp_path, found)["tests/test_use.py"] == expected
    assert found.refusals == ()


def test_a_name_that_is_patched_as_a_keyword_keeps_its_module_as_it_is(tmp_path):
    test = "from unittest.mock import patch\nfrom app import use\n\npatch.multiple(use, OldEngine=1)\n"
    make(tmp_path, {"app/use.py": IMPORT + "x = OldEngine(1, 2)\n", "tests/test_use.py": test})
    found = plan(tmp_path)
    assert found.units == ()
    assert {(refusal.path, refusal.code) for refusal in found.refusals} == {
        ("app/use.py", "coupled"),
        ("tests/test_use.py", "dynamic_use"),
    }


def test_what_a_package_imports_is_public_unless_it_says_otherwise(tmp_path):
    make(tmp_path, {"app/part/__init__.py": IMPORT + "x = OldEngine(1, 2)\n"})
    assert after(tmp_path, plan(tmp_path)) == {
        "app/part/__init__.py": "from app.engine import UserEngine as OldEngine\nx = OldEngine(1, 2)\n"
    }


def test_a_module_stays_as_long_as_somebody_who_stays_takes_the_name_from_it(tmp_path):
    make(
        tmp_path,
        {
            "app/hub.py": IMPORT + "x = OldEngine(1, 2)\n",
            "app/stays.py": "from app.hub import OldEngine\nclass A(OldEngine):\n    def run(self): pass\n",
            "app/goes.py": "from app.hub import OldEngine\nOldEngine(1, 2)\n",
        },
    )
    found = plan(tmp_path)
    assert {(refusal.path, refusal.code) for refusal in found.refusals} == {
        ("app/hub.py", "coupled"),
        ("app/stays.py", "subclass"),
    }
    assert after(tmp_path, found) == {"app/goes.py": "from app.engine import UserEngine\nUserEngine(1, 2)\n"}


def test_names_that_lead_through_another_module_go_straight_to_the_new_one_in_one_unit(tmp_path):
    make(
        tmp_path,
        {"app/hub.py": IMPORT + "OldEngine(1, 2)\n", "app/goes.py": "from app.hub import OldEngine as O\nO(1, 2)\n"},
    )
    found = plan(tmp_path)
    assert [unit.paths for unit in found.units] == [("app/goes.py", "app/hub.py")]
    assert after(tmp_path, found)["app/goes.py"] == "from app.engine import UserEngine as O\nO(1, 2)\n"


def test_a_public_name_is_kept_and_moved_in_the_last_phase(tmp_path):
    facade = IMPORT + "\n__all__ = ['OldEngine']\n"
    make(tmp_path, {"app/api.py": facade, "app/use.py": "from app.api import OldEngine\nOldEngine(1, 2)\n"})
    found = plan(tmp_path)
    assert [(unit.ident, unit.phase) for unit in found.units] == [("app/use.py", "all"), ("app/api.py", "facades")]
    assert after(tmp_path, found)["app/api.py"] == facade.replace(
        "from app.old import OldEngine", "from app.engine import UserEngine as OldEngine"
    )
    apply(tmp_path, found)
    assert plan(tmp_path).empty


def test_a_test_that_expects_a_failure_or_compares_is_left(tmp_path):
    make(
        tmp_path,
        {
            "tests/test_fails.py": "import pytest\n"
            + IMPORT
            + "def test_a():\n    with pytest.raises(TypeError):\n        OldEngine(1, 2)\n",
            "tests/test_both.py": IMPORT + "from app.engine import UserEngine\ndef test_a():\n"
            "    assert OldEngine(1, 2).said == UserEngine(1, 2).said\n",
        },
    )
    found = plan(tmp_path)
    assert {(refusal.path, refusal.code) for refusal in found.refusals} == {
        ("tests/test_fails.py", "expects_failure"),
        ("tests/test_both.py", "compares_old_and_new"),
    }
    assert found.units == ()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("form", ["plain", "bom", "latin", "unended"])
def test_line_ends_marks_and_encodings_stay(tmp_path, end, form):
    lines = [
        "from app.old import OldEngine, Unrelated",
        "\x0c",
        "def f(r):",
        "\tx = 'é', OldEngine(r, 'ü')  # ö",
        "\treturn x",
        "",
    ]
    if form == "latin":
        lines.insert(0, "# -*- coding: latin-1 -*-")
    text = end.join(lines[:-1] if form == "unended" else lines)
    encoding = {"bom": "utf-8-sig", "latin": "latin-1"}.get(form, "utf-8")
    make(tmp_path, {"app/use.py": text.encode(encoding)})
    wanted = text.replace("import OldEngine, Unrelated", f"import Unrelated{end}from app.engine import UserEngine")
    wanted = wanted.replace("OldEngine(r", "UserEngine(r")
    found = plan(tmp_path)
    assert found.refusals == ()
    apply(tmp_path, found)
    assert (tmp_path / "app/use.py").read_bytes() == wanted.encode(encoding)


def test_a_diff_is_one_that_git_applies(tmp_path):
    make(tmp_path, {"app/use.py": b"from app.old import OldEngine\r\nx = OldEngine(1, 2)"})
    found = plan(tmp_path)
    wanted = after(tmp_path, found)["app/use.py"].encode()
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run(["git", "apply", "-"], input=diff_of(tmp_path, found), cwd=tmp_path, check=True)
    assert (tmp_path / "app/use.py").read_bytes() == wanted


def test_a_plan_does_not_depend_on_the_seed_of_hashes(tmp_path):
    make(tmp_path, {f"app/use{number}.py": MOVED["a call of many lines"][1] for number in range(5)}, FACTORY)
    write(tmp_path, {"app/left.py": LEFT["the context is missing"][1]})
    text = (
        "import json, sys\nfrom pathlib import Path\nfrom tests.support.old_and_new import plan\n"
        "print(json.dumps(plan(Path(sys.argv[1])).to_json()))"
    )
    import os

    printed = {
        subprocess.run(
            [sys.executable, "-c", text, str(tmp_path)],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1
    assert len(json.loads(printed.pop())["units"]) == 5
