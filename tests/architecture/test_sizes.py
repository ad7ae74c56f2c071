"""Nothing grows too large to be read: files, functions, classes and signatures."""

import ast

from tests.architecture.reading import ROOT, SOURCE, files, name_of, named, tree

FILE_LINES = 400
FUNCTION_LINES = 50
PUBLIC_METHODS = 15
PARAMETERS = 6
COMPOSITION_LINES = 150  # of the composition root, which a reader must see at one glance

# What is larger, and why that is better than its parts would be.
LARGER = {
    "src/netra_apex/cli/audit.py:audit": "a command's parameters are its options",
    "src/netra_apex/cli/keys.py:key": "a command's parameters are its options",
    "src/netra_apex/cli/leaktest.py:leaktest": "a command's parameters are its options",
    "src/netra_apex/cli/probe.py:probe": "a command's parameters are its options",
    "src/netra_apex/client/client.py:Client": "what a user may ask of a server, each by its name",
    "src/netra_apex/client/connection.py:Connection.send": "what a message may have, each by its name",
    "src/netra_apex/core/ports.py:Accounts": "users, logins and the set-up token change together in one transaction",
    "src/netra_apex/stores/runs.py:RunStore": "what Runs asks for",
    "src/netra_apex/stores/accounts.py:AccountStore": "what Accounts asks for",
    "src/netra_apex/tools/tool.py:tool": "what may be said of a tool, each by its name",
}


def measured():
    """(name, what is measured, size, limit) of everything that is measured."""
    root = SOURCE / "runtime.py"
    yield name_of(root), "lines", len(root.read_text("utf-8").splitlines()), COMPOSITION_LINES
    for folder in (SOURCE, ROOT / "examples", ROOT / "bench"):
        for path in files(".py", under=folder):
            where = name_of(path)
            yield where, "lines", len(path.read_text("utf-8").splitlines()), FILE_LINES
            for name, node in named(tree(path)):
                if isinstance(node, ast.ClassDef):
                    methods = {method for method, _ in named(node) if "." not in method and not method.startswith("_")}
                    yield f"{where}:{name}", "public methods", len(methods), PUBLIC_METHODS
                else:
                    yield f"{where}:{name}", "lines", (node.end_lineno or 0) - node.lineno + 1, FUNCTION_LINES
                    yield f"{where}:{name}", "parameters", parameters(node), PARAMETERS


def parameters(node):
    """How many a caller may pass."""
    found = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len(found) - (found[:1] in (["self"], ["cls"]))


def test_nothing_is_larger_than_its_limit_but_what_says_why():
    large = {name: f"{size} {what}, {limit} at most" for name, what, size, limit in measured() if size > limit}
    assert {name: sentence for name, sentence in large.items() if name not in LARGER} == {}


def test_whatever_says_why_it_is_larger_still_is():
    large = {name for name, _, size, limit in measured() if size > limit}
    assert set(LARGER) - large == set()
