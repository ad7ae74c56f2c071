"""The documents tell what there is, all of it, and nothing else."""

import re

import pytest
import typer
from tests.architecture.reading import DOCS, ROOT, WHY, blocks, codes, documents, files, name_of, rows, sections

from netra_apex import create_app, errors
from netra_apex.cli import app as command_line
from netra_apex.client.frames import Answer
from netra_apex.core.events import DurableEvent, PassingFrame
from netra_apex.demo import registry
from netra_apex.settings import Settings, variable
from netra_apex.stream.protocol import TYPES, ClientFrame, Close
from netra_apex.tools.calls import CODES

REFERENCE = DOCS / "reference"
DOCUMENTS = documents()
VARIABLES = {variable(name): field for name, field in Settings.model_fields.items()}
# Written by the table of problems itself, for what nobody raised as a refusal.
ANYWHERE = {"internal": 500}
# What is not in the OpenAPI document; the shapes of A2A and MCP are their standards'.
PAGES = {"GET /", "GET /admin", "GET /setup", "GET /api/openapi.json", "GET /ws"}
PAGES |= {"GET /.well-known/agent-card.json", "POST /api/a2a", "POST /mcp"}
HEADER = {"seq", "run_id", "thread_id", "agent", "depth", "at", "parent_agent", "parent_call_id"}


def each_document(test):
    return pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)(test)


# Settings


def written(value):
    """A default as settings.md writes it."""
    if isinstance(value, tuple):
        value = ",".join(value)
    return "" if value in (None, "") else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def test_every_setting_is_documented_with_its_default_and_no_other():
    table = {codes(row[0])[0]: row[1] for row in rows((REFERENCE / "settings.md").read_text("utf-8"))}
    assert table == {name: written(field.default) for name, field in VARIABLES.items()}


@each_document
def test_every_variable_that_is_named_is_a_setting(path):
    named = set(re.findall(r"\b(?:NETRA|OPENAI)_[A-Z_]*[A-Z]\b", path.read_text("utf-8")))
    assert named - set(VARIABLES) == set()


# Commands


def commands(group, words=("netra",)):
    """(the words of a command, the command) of every command, those with commands of their own left out."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


ROOT_COMMAND = typer.main.get_command(command_line)
COMMANDS = dict(commands(ROOT_COMMAND))


def spellings(command):
    """What may stand behind a command: its options as they are typed, its arguments as they are shown."""
    for parameter in command.params:
        if parameter.param_type_name == "option":
            yield from (option for option in parameter.opts if option != "--help")
        else:
            yield (parameter.metavar or parameter.name).strip("[]").upper()


def test_every_command_and_option_is_documented_and_no_other():
    documented = {
        codes(heading)[0]: {codes(row[0])[0] for row in rows(text)}
        for heading, text in sections(REFERENCE / "commands.md").items()
        if heading.startswith("`netra")
    }
    assert documented == {name: set(spellings(command)) for name, command in COMMANDS.items()}


def test_the_options_of_netra_itself_are_documented():
    own = {option for option in spellings(ROOT_COMMAND) if option.startswith("--")}
    assert own - set(codes(sections(REFERENCE / "commands.md")["Commands"])) == set()


def typed(path):
    """Every `netra …` of a document: in shell blocks, and in backticks."""
    for block in blocks(path):
        if block.language == "sh":
            yield from (line.strip() for line in block.text.splitlines() if re.match(r"(\S+/)?netra ", line.strip()))
    yield from (code for code in codes(path.read_text("utf-8")) if code.startswith("netra "))


@each_document
def test_every_command_that_is_shown_exists_with_the_options_that_are_shown(path):
    wrong = []
    for line in typed(path):
        words = line.split(" < ")[0].split()[1:]
        if words[0] in ("COMMAND", "--help", "--version"):
            continue
        name = next((name for name in COMMANDS if f"{' '.join(words)} ".startswith(f"{name.partition(' ')[2]} ")), None)
        if name is None and words not in ([group] for group in ROOT_COMMAND.commands):
            wrong.append(line)
        elif name is not None:
            known = {*spellings(COMMANDS[name]), "--help"}
            wrong += [line for word in words if word.startswith("--") and word not in known]
    assert wrong == []


@each_document
def test_every_make_target_that_is_shown_exists(path):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    shown = re.findall(r"(?:^|`)(?:[A-Z]+=\S+ )?make ([a-z]+)", path.read_text("utf-8"), re.MULTILINE)
    assert set(shown) - targets == set()


# HTTP


def operations():
    """`GET /path` and the statuses of its problems, as the OpenAPI document has them."""
    for path, methods in create_app(registry, Settings()).openapi()["paths"].items():
        for method, operation in methods.items():
            statuses = {int(status) for status in operation["responses"] if int(status) >= 400}
            yield f"{method.upper()} {path}", statuses - {503}


def test_every_route_is_documented_with_its_problems_and_no_other():
    documented = {
        codes(heading)[0]: {
            int(status)
            for statuses in re.findall(r"Problems: ([\d,\s]+)\.", text)
            for status in re.findall(r"\d+", statuses)
        }
        for heading, text in sections(REFERENCE / "http.md").items()
        if heading.startswith("`")
    }
    assert documented == dict(operations()) | {page: set() for page in PAGES}


@each_document
def test_every_route_that_is_named_exists(path):
    routes = {operation.partition(" ")[2] for operation in [*dict(operations()), *PAGES]}
    named = re.findall(
        r"(?:(?<![\w./])|(?<=URL)|(?<=URL}))/(?:api/|readyz|healthz|metrics|ws\b|setup)[^\s`\"?#)]*",
        path.read_text("utf-8"),
    )
    filled = {re.sub(r"\$THREAD", "{thread_id}", re.sub(r"\$RUN", "{run_id}", route)) for route in named}
    # `/api/auth` and `/api/…` name what begins so.
    assert {route for route in filled if route not in routes and route not in ("/api/auth", "/api/…")} == set()


# The socket


def fields_of(cells):
    return set(codes(cells[1])) - {"{run_id: number}"}


def table(heading, width=2):
    """A section's table: name and documented fields."""
    return {codes(row[0])[0]: fields_of(row) for row in rows(sections(REFERENCE / "socket.md")[heading])}


def told(union, without=frozenset()):
    """Name and fields of each class of a union of frames."""
    return {
        kind.__struct_config__.tag: {name for name in kind.__struct_fields__ if name not in without}
        for kind in union.__args__
    }


def test_every_client_frame_is_documented_with_its_fields_and_no_other():
    documented = {name: fields - {"{run_id: number}"} for name, fields in table("Client frames").items()}
    assert documented == told(ClientFrame, {"id"})
    assert set(documented) == TYPES


def test_every_server_frame_is_documented_with_its_fields_and_no_other():
    assert table("Server frames") == told(Answer)


def test_every_event_is_documented_with_its_fields_and_no_other():
    assert table("Durable events") == told(DurableEvent, HEADER)
    assert HEADER - set(codes(sections(REFERENCE / "socket.md")["Durable events"])) == set()


def test_every_passing_frame_is_documented_with_its_fields_and_no_other():
    assert table("Passing frames") == told(PassingFrame)


def test_every_close_code_is_documented_and_no_other():
    documented = {int(codes(row[0])[0]) for row in rows(sections(REFERENCE / "socket.md")["Close codes"])}
    assert documented == set(Close)


# Errors


def below(kind):
    """A class and every class below it."""
    yield kind
    for each in kind.__subclasses__():
        yield from below(each)


def of_package(kind):
    return [each for each in below(kind) if each.__module__ == errors.__name__]


def documented_codes(heading):
    return {codes(row[0])[0]: row[1] for row in rows(sections(REFERENCE / "errors.md")[heading])}


def test_every_code_of_a_refusal_is_documented_with_its_status_and_no_other():
    documented = {code: int(status) for code, status in documented_codes("Refused requests and frames").items()}
    assert documented == {**{each.code: each.status for each in of_package(errors.Refused)}, **ANYWHERE}


def test_every_code_of_a_failed_run_is_documented_and_no_other():
    assert set(documented_codes("Failed runs")) == {each.code for each in of_package(errors.RunFailed)}


def test_every_code_of_a_failed_call_is_documented_and_no_other():
    assert set(documented_codes("Failed tool calls")) == CODES


# Links and code


def anchors(path):
    """The anchors of a Markdown file, as GitHub makes them of its headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in sections(path)}


@pytest.mark.parametrize("path", [*DOCUMENTS, ROOT / "CHANGELOG.md", *files(".md", under=WHY)], ids=name_of)
def test_every_relative_link_leads_somewhere(path):
    lost = []
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        found = (path.parent / place).resolve() if place else path
        if not found.exists() or (anchor and found.suffix == ".md" and anchor not in anchors(found)):
            lost.append(target)
    assert lost == []


PYTHON = [block for path in DOCUMENTS for block in blocks(path) if block.language == "python"]


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_every_python_block_compiles(block):
    text = block.text if not block.text.startswith(" ") else f"class Part:\n{block.text}"
    compile(text, str(block), "exec")


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_test_that_is_named_exists(path):
    named = set(re.findall(r"\btests/\w+/[\w/]*(?:\.py)?", path.read_text("utf-8")))
    assert {name for name in named if not (ROOT / name).exists()} == set()
