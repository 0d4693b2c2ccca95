"""Measuring: a plan becomes cells, phases measure them, records are kept. Imports machine, quality, instruments, records."""
