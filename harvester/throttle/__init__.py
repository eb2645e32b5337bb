"""Waits for the quota and for pacing; feeds the server's headers back."""
