"""What every sampler owes its caller, as checks: `bench verify NAME` shows them, and the tests hold all that ships to them.

A solver is checked on exact data in float64, a sampler with a network of its own on a teacher. A check is a function of a
`Subject` that returns what it saw, None where it does not apply, or raises `Flaw`.
"""
