"""Output to the terminal and to the log."""
