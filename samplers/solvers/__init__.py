"""Solvers of the probability-flow ODE: each a card and the arithmetic of one step, in sigma coordinates."""
