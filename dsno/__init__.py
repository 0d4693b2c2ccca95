"""DSNO, a trained plug-in: a neural operator that decodes a whole probability-flow ODE trajectory in one network call.

Zheng, Nie, Vahdat, Azizzadenesheli, Anandkumar, "Fast Sampling of Diffusion Models via Operator Learning", arXiv 2211.13449.
"""
