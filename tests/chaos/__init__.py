"""Processes that are killed, and what must be left of their runs: everything, once, in order.

    python -m tests.chaos --runs 200 --kills 20 --seed 1      the long form; JSON on stdout, 1 where anything is amiss

The short form is tests/acceptance/test_chaos.py.
"""
