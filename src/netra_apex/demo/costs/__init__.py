"""AI cost analysis: a team that reads a usage export and says what was spent, on what, and what could be saved.

Figures come from tools, which compute them from the file; no model sees or says one.
"""

from netra_apex.demo.costs.team import CostAnalysis

__all__ = ["CostAnalysis"]
