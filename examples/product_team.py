"""A team that takes a wish to a checked hand-over: `netra serve examples/product_team.py`.

A product manager writes down what is wanted, a designer cuts it into three interface contracts, a QA strategist says
how it will be tested, three implementers work side by side, a validator checks, and a writer hands over. Each
implementer is shown its own contract and nothing else. `product_team.toml` is the same team without Python.
"""

from typing import Annotated

from pydantic import BaseModel, Field

from netra_apex import AgentRegistry, ChatAgent, Mission, Phase, Plan, Team

Sentences = Annotated[tuple[str, ...], Field(min_length=1)]


class Requirements(BaseModel):
    """What is wanted."""

    summary: str
    must: Sentences


class Contract(BaseModel):
    """What one part takes and gives; all that its implementer knows."""

    takes: str
    gives: str
    rules: Sentences


class Design(BaseModel):
    """The product as three parts that know nothing of each other but these."""

    store: Contract
    api: Contract
    page: Contract


class TestPlan(BaseModel):
    """How each part will be shown to work."""

    cases: Sentences


class Implementation(BaseModel):
    """One part, done."""

    code: str
    notes: str


class Verdict(BaseModel):
    """Whether the parts keep to their contracts."""

    passed: bool
    findings: tuple[str, ...] = ()


class ProductManager(ChatAgent):
    """Writes down what is wanted."""

    name = "product_manager"
    instructions = "You are a product manager. Write down what is wanted, without saying how."
    output_type = Requirements


class Designer(ChatAgent):
    """Cuts a product into parts with contracts."""

    name = "designer"
    instructions = "You are a software designer. Give each part a contract that can be built from without the others."
    output_type = Design


class QaStrategist(ChatAgent):
    """Says how a product is to be tested."""

    name = "qa_strategist"
    instructions = "You plan tests. Name the cases that show each contract kept, and broken."
    output_type = TestPlan


class Implementer(ChatAgent):
    """Builds one part from its contract."""

    name = "implementer"
    instructions = "You implement one part. All that you know is its contract: ask for nothing else, and add nothing."
    output_type = Implementation


class Validator(ChatAgent):
    """Checks parts against their contracts."""

    name = "validator"
    instructions = "You check implementations against contracts and test cases. Say what is wrong, and only that."
    output_type = Verdict


class Writer(ChatAgent):
    """Writes the hand-over."""

    name = "writer"
    instructions = "You write for the person who asked: what was built, and what is open. Be brief."


def has_code(part: Implementation) -> str | None:
    """An implementation without code is none."""
    return None if part.code.strip() else "there is no code"


def passed(verdict: Verdict) -> str | None:
    """A team whose parts do not fit has not delivered."""
    return None if verdict.passed else f"validation found: {'; '.join(verdict.findings) or 'no reason given'}"


def part(name: str) -> Mission:
    """The mission to build one part, from its contract alone."""
    objective = "Build this part as its contract says."
    context = (f"design.{name}",)
    return Mission(name, Implementer, objective, Implementation, context, criteria=(has_code,), attempts=2)


class ProductTeam(Team):
    """Takes a wish to a checked hand-over."""

    name = "product_team"
    plan = Plan(
        goal="Build what was asked for",
        phases=(
            Phase(
                "product",
                (Mission("requirements", ProductManager, "Say what is wanted.", Requirements, ("request",)),),
            ),
            Phase("design", (Mission("design", Designer, "Cut it into parts.", Design, ("requirements", "limits")),)),
            Phase(
                "quality",
                (Mission("test_plan", QaStrategist, "Plan the tests.", TestPlan, ("requirements", "design")),),
            ),
            Phase("build", (part("store"), part("api"), part("page"))),
            Phase(
                "validation",
                (
                    Mission(
                        "validation",
                        Validator,
                        "Check each part against its contract and the test plan.",
                        Verdict,
                        ("design", "test_plan", "store", "api", "page"),
                        criteria=(passed,),
                    ),
                ),
            ),
            Phase(
                "handover",
                (Mission("handover", Writer, "Write the hand-over.", str, ("request", "requirements", "validation")),),
            ),
        ),
        facts={"limits": "Python 3.11 and its standard library; no network."},
    )


registry = AgentRegistry([ProductTeam])
