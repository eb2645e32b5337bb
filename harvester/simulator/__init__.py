"""Simulator of the VoiceTrends API as far as it is known: for demonstrations, tests and benchmarks.

`api.SimulatedApi` is the whole behaviour, without sockets and without a clock of its own; `server.SimulatorServer`
serves it on a loopback port; `world.World` computes the figures, so that stored ones can be compared with them.
"""
