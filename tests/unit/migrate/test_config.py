"""`ssot.toml`: what is read of it, and what is refused with its key."""

from pathlib import Path

import pytest

from netra_apex.errors import ConfigurationError
from netra_apex.migrate.config import Call, Canonical, Forbid, Interface, Phase, joined, load, parse

FULL = """
[project]
roots = ["src", "."]
root_aliases = { "app" = "backend.app" }
exclude = ["backup*/**"]
entry = ["backend.app.routes"]

[[canonical]]
symbol = "backend.app.engine.UserExecutionEngine"
role = "ExecutionEngine"
deprecated = ["backend.app.old.ExecutionEngine", "backend.app.consolidated.*"]
[canonical.call]
to = "from_registry"
params = ["registry", "websocket_bridge", "user_context"]
rename = { websocket_manager = "websocket_bridge" }
required = ["user_context"]

[[forbid]]
pattern = "os.environ[$K]"
message = "read Settings"
except = ["backend/settings.py"]

[[interface]]
base = "backend.app.ports.IExecutionEngine"
check = ["abstract", "async"]

[[phase]]
name = "rest"

[[phase]]
name = "P0"
include = ["tests/**"]
priority = -1
batch = 5
validate = "pytest -q -x {files}"
timeout = 60
"""


def test_everything_in_a_file_is_read(tmp_path):
    (tmp_path / "ssot.toml").write_text(FULL)
    read = load(tmp_path)
    assert read.project.roots == ("src", ".")
    assert dict(read.project.root_aliases) == {"app": "backend.app"}
    assert read.canonicals == (
        Canonical(
            symbol="backend.app.engine.UserExecutionEngine",
            role="ExecutionEngine",
            deprecated=("backend.app.old.ExecutionEngine", "backend.app.consolidated.*"),
            call=Call(
                to="from_registry",
                params=("registry", "websocket_bridge", "user_context"),
                rename={"websocket_manager": "websocket_bridge"},
                required=("user_context",),
            ),
        ),
    )
    assert read.forbids == (
        Forbid(pattern="os.environ[$K]", message="read Settings", excepted=("backend/settings.py",)),
    )
    assert read.interfaces == (Interface(base="backend.app.ports.IExecutionEngine", check=("abstract", "async")),)
    assert [phase.name for phase in read.ordered_phases] == ["P0", "rest"]
    assert read.phases[0] == Phase(name="rest")
    assert read.source == tmp_path / "ssot.toml"


def test_a_table_of_pyproject_is_read_where_there_is_no_file_of_its_own(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.netra.audit.project]\nroots = ["lib"]\n')
    assert load(tmp_path).project.roots == ("lib",)
    (tmp_path / "ssot.toml").write_text('[project]\nroots = ["src"]\n')
    assert load(tmp_path).project.roots == ("src",)


def test_without_a_file_everything_is_as_by_default(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert load(tmp_path).source is None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"projekt": {}}, "projekt: is not known"),
        ({"project": {"rots": []}}, "project.rots: is not known"),
        ({"project": {"roots": "src"}}, "project.roots: 'src' is not a list of texts"),
        ({"canonical": {}}, "[[canonical]]"),
        ({"canonical": [{"role": "x"}]}, "canonical[0]: something is missing"),
        ({"canonical": [{"symbol": "a.B", "call": {"too": "x"}}]}, "canonical[0].call.too: is not known"),
        ({"canonical": [{"symbol": "a.B", "deprecated": ["a.B"]}]}, "in favour of itself"),
        ({"canonical": [{"symbol": "a.B", "deprecated": ["a B"]}]}, "is no dotted name"),
        ({"forbid": [{"pattern": "x", "severity": "fatal"}]}, "is not one of error, warning, note"),
        ({"interface": [{"base": "a.B", "check": ["speed"]}]}, "is not a list of abstract, async, positional"),
        ({"phase": [{"name": "a", "batch": 0}]}, "above zero"),
        ({"phase": [{"name": "a", "batch": True}]}, "is not a whole number"),
        ({"phase": [{"name": "a"}, {"name": "a"}]}, "two phases 'a'"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(table, said):
    with pytest.raises(ConfigurationError) as refused:
        parse(table, Path("ssot.toml"))
    assert said in str(refused.value)
    assert str(refused.value).startswith("ssot.toml: ")


def test_a_file_that_is_no_toml_is_refused_with_its_name(tmp_path):
    (tmp_path / "ssot.toml").write_text("[project\n")
    with pytest.raises(ConfigurationError, match=r"ssot\.toml is no TOML"):
        load(tmp_path)


def test_a_preset_adds_rules_and_keeps_what_the_project_says():
    own = parse({"project": {"roots": ["src"]}, "phase": [{"name": "mine"}]}, Path("ssot.toml"))
    more = parse({"canonical": [{"symbol": "a.B"}], "phase": [{"name": "theirs"}]}, Path("preset.toml"))
    both = joined(own, more)
    assert (both.project.roots, both.canonicals, both.phases) == (("src",), more.canonicals, own.phases)
