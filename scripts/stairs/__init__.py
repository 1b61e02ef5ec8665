"""The checks of the capstone, for scripts/capstone.py. Each step is a module with its checks in CHECKS.

A check gets a ``Stage``: it starts the program under test, and makes clients that talk to it over TCP. It knows nothing
else of the program. It raises ``Failed`` with what was expected and what came instead.
"""
