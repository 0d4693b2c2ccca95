"""Clocks and counters: what a pass takes and does. Imports samplers alone; nothing here knows a plan or a record."""
