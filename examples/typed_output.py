"""An agent whose answer is a value with a type: `netra serve examples/typed_output.py`.

An answer that is not of the type is sent back to the model with what is wrong, until it is or the turns run out.
"""

from typing import Literal

from pydantic import BaseModel, Field

from netra_apex import AgentRegistry, ChatAgent


class Ticket(BaseModel):
    """What a support desk needs to know of a message."""

    subject: str = Field(max_length=80)
    mood: Literal["calm", "worried", "angry"]
    urgent: bool


class Triage(ChatAgent):
    """Sorts messages to a support desk."""

    name = "triage"
    instructions = "Sort the message. Do not answer it."
    output_type = Ticket
    max_turns = 3


registry = AgentRegistry([Triage])
