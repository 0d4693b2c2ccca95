"""Two revisions, runs or speed results side by side, with verdicts, and the gate. Imports machine, instruments, records."""
