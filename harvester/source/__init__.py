"""Talks to the VoiceTrends API: transport, credentials, slices."""
