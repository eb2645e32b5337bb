"""Measures speed as ratios against something run beside it."""
