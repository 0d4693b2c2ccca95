"""Where it was measured: device, versions, conditions, energy, noise and ceilings. Imports instruments."""
