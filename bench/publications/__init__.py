"""Published results with their sources, as data of the package. Imports samplers and presentation alone."""
