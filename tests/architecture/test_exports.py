"""The top level exports exactly what it should, and each name is documented."""

import importlib

import pytest
from tests.architecture.reading import DOCS, codes

import netra_apex

TOP_LEVEL = [
    "AdaptivePipeline",
    "AgentRegistry",
    "Assignment",
    "AssistantMessage",
    "BaseAgent",
    "CallFailed",
    "ChatAgent",
    "ChatOrchestrator",
    "ConfigurationError",
    "DataPlan",
    "Image",
    "MCPServer",
    "Material",
    "Mission",
    "NetraError",
    "Phase",
    "Plan",
    "Refused",
    "Reply",
    "Result",
    "Review",
    "RunFailed",
    "RunScope",
    "Runtime",
    "ScopeChatModel",
    "Settings",
    "Sufficiency",
    "SupervisorAgent",
    "SystemMessage",
    "Team",
    "TeamReport",
    "ToolCall",
    "ToolMessage",
    "Usage",
    "UserExecutionContext",
    "UserExecutionEngine",
    "UserMessage",
    "admin_tools",
    "ask_user",
    "create_app",
    "forget",
    "from_function",
    "from_langgraph",
    "from_openai_agents",
    "from_pydantic_ai",
    "list_files",
    "read_file",
    "recall",
    "remember",
    "tool",
]
PUBLIC = ("netra_apex", "netra_apex.testing", "netra_apex.client")
PAGE = DOCS / "reference" / "python.md"


def test_the_top_level_exports_exactly_these_names():
    assert netra_apex.__all__ == TOP_LEVEL
    assert dir(netra_apex) == TOP_LEVEL


@pytest.mark.parametrize("module", PUBLIC)
def test_every_exported_name_is_there(module):
    imported = importlib.import_module(module)
    assert [name for name in imported.__all__ if getattr(imported, name, None) is None] == []


def test_a_name_that_is_not_exported_is_no_attribute():
    with pytest.raises(AttributeError, match="EnterpriseAgent"):
        _ = netra_apex.EnterpriseAgent


@pytest.mark.parametrize("module", PUBLIC)
def test_every_exported_name_is_on_the_python_page(module):
    documented = set(codes(PAGE.read_text("utf-8")))
    assert set(importlib.import_module(module).__all__) - documented == set()


def test_the_python_page_documents_every_member_of_a_scope_and_no_other():
    members = {name for name in vars(netra_apex.RunScope) if not name.startswith("_")}
    text = PAGE.read_text("utf-8")
    table = text.partition("### `RunScope`")[2].partition("## ")[0]
    assert {line.split("`")[1] for line in table.splitlines() if line.startswith("| `")} == members
