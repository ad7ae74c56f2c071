"""Random programs with random uses of the old class do the same after they were migrated as before."""

import importlib
import io
import sys
import tempfile
import tokenize
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Step
from hypothesis import strategies as st
from tests.support.moved_tree import everything
from tests.support.old_and_new import FACTORY, ORDERED, PLAIN, apply, make, plan

from netra_apex.migrate import rolling_back, running
from netra_apex.migrate.config import Phase

# How the old class comes into the program, and what it is called there.
IMPORTS = st.sampled_from(
    [
        ("from app.old import OldEngine", "OldEngine"),
        ("from app.old import OldEngine as E", "E"),
        ("from app.old import Unrelated, OldEngine  # two", "OldEngine"),
        ("from .old import OldEngine", "OldEngine"),
        ("import app.old", "app.old.OldEngine"),
        ("import app.old as o", "o.OldEngine"),
        ("from app import old", "old.OldEngine"),
        ("try:\n    from app.old import OldEngine\nexcept ImportError:\n    OldEngine = None", "OldEngine"),
    ]
)
VALUES = st.sampled_from(
    [
        "1",
        "'OldEngine'",
        "note(1)",
        "note(2)",
        "(note(3))",
        "[1, note(4)]",
        "x",
        "{'a': (1, 2)}",
        "\n    note(5)",
        "'é'",
    ]
)
SEPARATORS = st.sampled_from([", ", ",\n        ", ",  # OldEngine, too\n        ", " , "])


@st.composite
def calls(draw, name):
    """A call of the old class that binds, and whether it has a context."""
    values = {each: draw(VALUES) for each in ("registry", "manager", "ctx")}
    positional = draw(st.integers(0, 3))
    names = list(values)
    keywords = draw(st.permutations(names[positional:]))
    has_context = positional == 3 or draw(st.integers(0, 9)) > 0
    arguments = [values[each] for each in names[:positional]]
    arguments += [f"{each}={values[each]}" for each in keywords if each != "ctx" or has_context]
    if draw(st.booleans()):
        place = draw(st.integers(positional, len(arguments)))
        arguments.insert(place, f"verbose={draw(st.sampled_from(['True', 'x']))}")
    text = draw(SEPARATORS).join(arguments)
    end = draw(st.sampled_from([")", ",)", ",\n    )", "  # end\n    )"]))
    return f"{name}({text}{end}", has_context


TEMPLATES = st.sampled_from(
    [
        "out.append(({call}).run('OldEngine'))",
        "def {f}(OldEngine=1):\n    return OldEngine\nout.append({f}())\nout.append({call}.said)",
        "def {f}():\n    return [{call}.run(each) for each in (1, 2)]\nout.append({f}())",
        (
            "class {f}:\n    OldEngine: str = 'mine'\n    made = staticmethod(lambda: {call})\n"
            "out.append(({f}.OldEngine, {f}.made().said))"
        ),
        "out.append((lambda OldEngine: (OldEngine, {other}(1, 2).said))(3))\nout.append(isinstance({call}, {name}))",
        "if (kept := {call}):\n\tout.append(kept.run(kept.said))",
        (
            "def {f}(a: {name} = None) -> {name}:\n    'OldEngine'\n"
            "    # OldEngine\n    return a or {call}\nout.append({f}().said)"
        ),
        "\x0c\nfor OldEngine_ in [{call}]:\n    out.append(OldEngine_.said)",
        "with_text = f'OldEngine {{len(out)}}'; out.append(with_text)\nout.append({call}.KIND)",
    ]
)


@st.composite
def programs(draw):
    """(text, whether every call of the old class has a context)."""
    first, name = draw(IMPORTS)
    lines = ["# OldEngine: a comment", "from app.other import OldEngine as Other", first, "out, log, x = [], [], 7"]
    lines += ["def note(value):\n    log.append(value)\n    return value"]
    whole = True
    for number in range(draw(st.integers(1, 5))):
        call, has_context = draw(calls(name))
        whole = whole and has_context
        lines.append(draw(TEMPLATES).format(call=call, name=name, other="Other", f=f"f{number}"))
    return "\n".join(lines) + draw(st.sampled_from(["\n", ""])), whole


def done(root):
    """What a program does: its results and the order in which its values were made."""
    sys.path.insert(0, str(root))
    try:
        for name in [name for name in sys.modules if name == "app" or name.startswith("app.")]:
            del sys.modules[name]
        importlib.invalidate_caches()
        module = importlib.import_module("app.use")
        return repr((module.out, module.log))
    finally:
        sys.path.remove(str(root))


def remarks(text):
    """The comments and strings of a program."""
    kinds = (tokenize.COMMENT, tokenize.STRING)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return [each.string for each in tokenize.generate_tokens(io.StringIO(text).readline) if each.type in kinds]


def test_a_migrated_program_does_what_it_did():
    moved = []

    @settings(
        max_examples=120,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        phases=[Step.generate],
    )
    @given(
        program=programs(),
        end=st.sampled_from(["\n", "\r\n", "\r"]),
        encoding=st.sampled_from(["utf-8", "utf-8-sig", "latin-1"]),
        configuration=st.sampled_from([PLAIN, FACTORY, ORDERED]),
    )
    def holds(program, end, encoding, configuration):
        text, whole = program
        if encoding == "latin-1":
            text = f"# coding: latin-1\n{text}"
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            make(root, {"app/use.py": text.replace("\n", end).encode(encoding)}, configuration)
            moved.append(check(root, factory=configuration is not PLAIN, whole=whole))

    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        holds()
    finally:
        sys.dont_write_bytecode = bytecode
    # A refusal is right, too, but it says little of rewrites.
    assert sum(moved) > len(moved) / 2


def check(root, *, factory, whole):
    """Plans, runs, runs the program, and takes it back; gives whether it was moved."""
    path = root / "app/use.py"
    before, did = everything(root), done(root)
    found = plan(root)
    codes = {refusal.code for refusal in found.refusals}
    assert ("missing_argument" in codes) == (factory and not whole), found.refusals
    # A comment behind an argument that is dropped is nothing that one can place.
    assert codes <= {"missing_argument", "call_shape"}
    assert bool(codes) != bool(found.units)
    text = path.read_bytes()
    with running.opened(root) as journal:
        run = running.begin(journal, root, found, (Phase(name="all"),), allow_dirty=True)
        running.Runner(journal, root, run, lambda *_: None).carry_out()
        assert done(root) == did
        assert plan(root).units == ()
        if found.units:
            encoding = found.units[0].files[0].encoding
            assert remarks(path.read_bytes().decode(encoding)) == remarks(text.decode(encoding))
            assert b"app.old.O" not in path.read_bytes()
            run = journal.last()
            rolling_back.roll_back(journal, root, run, rolling_back.chosen(journal, run), lambda *_: None)
    assert {name: entry for name, entry in everything(root).items() if ".netra_audit" not in name} == before
    return bool(found.units)


def test_the_old_and_the_new_class_of_these_tests_do_the_same(tmp_path):
    make(tmp_path, {"app/use.py": "from app.old import OldEngine\nout, log = [OldEngine(1, 2, 3).said], []\n"}, FACTORY)
    did = done(tmp_path)
    apply(tmp_path, plan(tmp_path))
    assert done(tmp_path) == did
    assert "UserEngine" in (tmp_path / "app/use.py").read_text()
