"""The rules of harvesting: pure and synchronous, no clock, no randomness, no input or output."""
