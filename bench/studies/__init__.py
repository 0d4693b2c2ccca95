"""Whole studies, from training to profile, in slices of time. Imports runs, profiling and all below; commands import it."""
