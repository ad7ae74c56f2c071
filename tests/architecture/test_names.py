"""Names that say nothing, doubles in place of parts, stray reads of the environment, and errors that are swallowed."""

import ast
import re

from tests.architecture.reading import SOURCE, files, name_of, named, tree

# Words that say nothing. As words of a name: `Modernity` is one, `post_modern` is not.
FORBIDDEN = ("unified", "enhanced", "consolidated", "modern", "legacy", "ssot", "helper", "utils", "common", "v2")
WORDS = re.compile(r"[A-Z]?[a-z]+[0-9]*|[A-Z]+(?![a-z])")
# As patterns, so that this file does not hold what it looks for.
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|yarnpkg\.com|crates\.io|proxy\.golang\.org"
    r"|index[-_]url|/simple/?(?=[\"'\s])"
)
MACHINE = re.compile(r"(?<![\w.-])/(?:work/(?:main|shared)|root/|home/\w+/|Users/\w+/)")
CATCH_ALL = {"Exception", "BaseException"}
SHARE = 0.30


def words(name):
    return {word.lower() for word in WORDS.findall(name)} | {name.lower()}


def test_no_module_class_or_function_has_a_name_that_says_nothing():
    found = []
    for path in files(".py", under=SOURCE):
        if words(path.stem) & set(FORBIDDEN):
            found.append(name_of(path))
        found += [f"{name_of(path)}:{name}" for name, node in named(tree(path)) if words(node.name) & set(FORBIDDEN)]
    assert found == []


def imports(path):
    """Every module that a file names in an import."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_nothing_stands_in_for_a_part_by_mocking():
    double = "unittest." + "mock"
    found = [name_of(path) for path in files(".py") if any(name.startswith(double) for name in imports(path))]
    assert found == []


def test_only_settings_reads_the_environment():
    readers = []
    for path in files(".py", under=SOURCE):
        reads = any(
            isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv")
            for node in ast.walk(tree(path))
        )
        if reads or any(name in ("os.environ", "os.getenv") for name in imports(path)):
            readers.append(name_of(path))
    # The leak test looks for what an application has put there.
    assert sorted(readers) == ["src/netra_apex/settings.py", "src/netra_apex/testing/leaks/state.py"]


def test_no_file_carries_a_registrys_address_or_a_path_of_one_machine():
    found = []
    for path in files():
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue  # an image
        found += [f"{name_of(path)}: {hit.group()}" for hit in (*REGISTRIES.finditer(text), *MACHINE.finditer(text))]
    assert found == []


def handlers():
    """(where, the handler, the lines of its file) of every `except` in the package."""
    for path in files(".py", under=SOURCE):
        lines = path.read_text("utf-8").splitlines()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler):
                yield f"{name_of(path)}:{node.lineno}", node, lines


def catches_all(handler):
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(isinstance(each, ast.Name) and each.id in CATCH_ALL for each in caught)


def test_few_handlers_catch_everything():
    every = [handler for _, handler, _ in handlers()]
    everything = [handler for handler in every if catches_all(handler)]
    assert len(everything) / len(every) <= SHARE


def test_whoever_catches_everything_and_keeps_it_says_why():
    silent = []
    for where, handler, lines in handlers():
        if not catches_all(handler):
            continue
        last = handler.body[-1]
        passes_on = isinstance(last, ast.Raise) and last.exc is None
        # The `except` line and what stands between it and the first statement.
        head = lines[handler.lineno - 1 : handler.body[0].lineno]
        if not passes_on and not any("#" in line for line in head):
            silent.append(where)
    assert silent == []
