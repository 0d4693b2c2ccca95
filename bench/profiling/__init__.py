"""Where one pass of a trained sampler spends its time. Imports machine, instruments, presentation."""
