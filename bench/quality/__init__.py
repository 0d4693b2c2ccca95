"""How good images are: extractors, references, distances, trajectory error. Imports samplers alone."""
