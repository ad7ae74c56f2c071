"""Agents that were written for another framework, as agents of ours: one line each.

Each framework's module is imported when its function is first used, as none of them is needed by anybody else.
"""
