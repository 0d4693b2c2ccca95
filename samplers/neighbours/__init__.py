"""Samplers of other libraries as ours are, LIBRARY:NAME, in a module each.

A module has `CARDS`; `load(name)`, which needs the library; `EXTRA` of our package that installs it; and `LEFT_OUT`, why others
are not here. It imports its library when one of its samplers is made, not before: listing the cards needs none. What the cards
say of order and calls is measured (`tests/samplers/neighbours`).
"""
