"""What agents may do: functions as tools, and the dispatcher that every call of theirs goes through."""

from netra_apex.tools.calls import Call
from netra_apex.tools.dispatcher import Hooks, ToolDispatcher
from netra_apex.tools.files import list_files, read_file
from netra_apex.tools.host import ToolHost
from netra_apex.tools.questions import ask_user
from netra_apex.tools.tool import Tool, tool

__all__ = ["Call", "Hooks", "Tool", "ToolDispatcher", "ToolHost", "ask_user", "list_files", "read_file", "tool"]
