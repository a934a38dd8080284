"""Sweeps: many runs of one experiment, and the table that they add up to."""
