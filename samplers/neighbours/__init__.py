"""Samplers of other libraries as ours are, LIBRARY:NAME, in a module each: `CARDS`, and `load(name)` with the library at hand.

A module imports its library when one of its samplers is made, not before: listing the cards needs none. What the cards say of
order and calls is measured (`tests/samplers/neighbours`).
"""
