"""The VoiceTrends API over HTTP: transport, credentials, requests and what their answers mean."""
