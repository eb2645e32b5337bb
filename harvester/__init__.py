"""Harvests Plum Voice VoiceTrends figures into SQL, completely and within the API's quota."""

__version__ = "0.1.0"
