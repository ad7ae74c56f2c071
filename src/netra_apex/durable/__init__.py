"""Runs that survive: who carries which run out, taking up what a dead process left, ending what broke."""
