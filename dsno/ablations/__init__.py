"""The controls that the paper leaves open, each trained at one small budget, and their table."""
