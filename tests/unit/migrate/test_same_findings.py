"""The same files give the same findings: with one process or two, cold or warm, whatever the hash seed is."""

import ast
import hashlib
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.migrate.tree import report, write

from netra_apex.migrate.extract import facts
from netra_apex.migrate.facts import body_of, head_of
from netra_apex.migrate.globs import Globs
from netra_apex.migrate.references import analyse
from netra_apex.migrate.source import Source

NAMES = ("a", "b", "c", "Old", "New")
MODULES = ("m.a", "m.b", "m.c", "m")
LINES = st.one_of(
    st.builds("from {} import {}".format, st.sampled_from(MODULES), st.sampled_from((*NAMES, "*"))),
    st.builds("from . import {} as {}".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.builds("import {}".format, st.sampled_from(MODULES)),
    st.builds("{} = {}".format, st.sampled_from(NAMES), st.sampled_from((*NAMES, "{}", "None", "m.a.Old"))),
    st.builds("class {}({}): pass".format, st.sampled_from(NAMES), st.sampled_from(("", *NAMES))),
    st.builds(
        "def {}({}): {}.append(1)".format, st.sampled_from(NAMES), st.sampled_from(("", *NAMES)), st.sampled_from(NAMES)
    ),
    st.builds("{}()".format, st.sampled_from((*NAMES, "m.a.Old", "m.b.Old.x"))),
    st.builds("x = [{0} for {0} in {1}]".format, st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.just("__all__ = ['Old', 'a']"),
    st.just("def broken(:"),
)
BODIES = st.lists(LINES, max_size=6).map("\n".join)
SSOT = '[[canonical]]\nsymbol = "m.c.New"\ndeprecated = ["m.a.Old"]\n[[forbid]]\npattern = "m.b.$X"'.replace(
    "m.b.$X", "m.b.New($$$)"
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bodies=st.tuples(BODIES, BODIES, BODIES, BODIES))
def test_any_tree_is_audited_and_a_second_time_from_the_cache_alike(tmp_path, bodies):
    files = dict(zip(("m/__init__.py", "m/a.py", "m/b.py", "m/c.py"), bodies, strict=True))
    write(tmp_path, files | {"ssot.toml": SSOT})
    fresh = report(tmp_path)
    assert report(tmp_path, cached=True) == fresh
    assert report(tmp_path, cached=True) == fresh
    assert {each.path for each in fresh.findings} <= set(files)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
)
def test_facts_are_found_in_any_bytes_and_are_the_same_again(data):
    first = facts(data)
    assert facts(data) == first
    head_of(first[0])
    body_of(first[1])


ENDS = st.sampled_from(("\n", "\r\n", "\r"))
WORDS = st.sampled_from(("x", "ä", "名", "ß1", "'é'", "f('ü', k=x)", "x.ä.b"))


@settings(max_examples=150, deadline=None)
@given(
    words=st.lists(st.lists(WORDS, min_size=1, max_size=4), min_size=1, max_size=5),
    end=ENDS,
    mark=st.booleans(),
    encoding=st.sampled_from(("utf-8", "latin-1", "gb18030")),
    last=st.booleans(),
)
def test_a_node_stands_where_its_offsets_say_whatever_encoding_and_line_ends_are(words, end, mark, encoding, last):
    text = end.join(", ".join(line) for line in words) + (end if last else "")
    if encoding == "latin-1" and not text.isascii() and "名" in text:
        text = text.replace("名", "ñ")
    if encoding in ("latin-1", "gb18030"):
        data = f"# coding: {encoding}{end}{text}".encode(encoding)
        mark = False
    else:
        data = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    source = Source(data)
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Name):
            start, stop = source.span(node)
            assert data[start:stop].decode(source.encoding.removesuffix("-sig")) == node.id


def test_two_processes_find_what_one_does_under_any_hash_seed(tmp_path):
    files = {
        f"m/part{number}.py": f"from m.part{number * 7 % 200} import x, y{number}\nx = {{}}" for number in range(200)
    }
    files |= {f"m/r{number}.py": "class ToolRegistry: ...\ndef f(): from_m = 1" for number in range(4)}
    write(tmp_path, files)
    script = (
        "import sys; from pathlib import Path; from netra_apex.migrate.audit import Work, audit;"
        "from netra_apex.migrate.config import load;"
        "folder = Path(sys.argv[1]);"
        "print(audit(folder, load(folder), Work(jobs=int(sys.argv[2]), cached=False)))"
    )
    told = set()
    for jobs, seed in (("1", "0"), ("2", "1"), ("2", "4242")):
        done = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path), jobs],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=100,
        )
        told.add(hashlib.sha256(done.stdout).hexdigest())
    assert len(told) == 1


# Scopes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x\ndef f():\n    x", ["module", "module"]),
        ("def f(x):\n    x", ["function"]),
        ("def f():\n    global x\n    x", ["module"]),
        ("def f():\n    x = 1\n    def g():\n        nonlocal x\n        x", ["function", "function"]),
        ("class A:\n    x = 1\n    x\n    def f(self): x", ["class", "class", "module"]),
        ("[x for x in x]", ["module", "comprehension", "comprehension"]),
        ("def f(a=x, *, x=x): x", ["module", "module", "function"]),
        ("lambda x: x", ["function"]),
        ("class A(x):\n    [x for _ in x]\n    x = 1", ["module", "class", "module", "class"]),
        ("def f():\n    [x := 1 for _ in y]\n    x", ["function", "function"]),
        ("def f():\n    try: ...\n    except E as x: x", ["function"]),
        ("def f():\n    import x.y\n    x.y", ["function"]),
    ],
)
def test_a_name_is_bound_where_python_binds_it(text, expected):
    analysis = analyse(ast.parse(f"x = 0\n{text}"))
    kinds = [each.bound.kind for each in analysis.references if each.parts[0] == "x" and each.bound is not None]
    assert kinds[1:] == expected


def test_a_binding_knows_its_uses(tmp_path):
    analysis = analyse(ast.parse("from a import b\nb.c.d(1)\ndef f(b): b\ndef g() -> 'b.e': return b"))
    (bound,) = analysis.module.names["b"]
    assert [(each.name, each.use) for each in analysis.uses_of(bound)] == [
        ("b.c.d", "call"),
        ("b.e", "annotation"),
        ("b", "value"),
    ]


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("backup*/**", "backup2/a/b.py", True),
        ("backup*/**", "app/backup/a.py", False),
        ("**/gen/*.py", "gen/a.py", True),
        ("**/gen/*.py", "a/b/gen/c.py", True),
        ("**/gen/*.py", "gen/a/b.py", False),
        ("app", "app/a.py", True),
        ("./app/", "app/a.py", True),
        ("app/?.py", "app/ab.py", False),
        ("app/[!a].py", "app/b.py", True),
        ("**", "a/b.py", True),
    ],
)
def test_globs_are_as_people_write_them(pattern, path, expected):
    assert Globs([pattern]).matches(path) is expected
