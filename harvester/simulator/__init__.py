"""The VoiceTrends API as far as it is known, played by this program itself."""
