"""What was found: records, their store, their table, and their differences. Imports samplers alone."""
