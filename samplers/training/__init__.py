"""What every trainer shares: recipes, data, the loop, checkpoints, cards. Imports models; solvers know nothing of it."""
