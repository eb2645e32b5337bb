"""The VoiceTrends API as far as it is known, played by this program itself.

For demonstrations, tests and measurements. `api.SimulatedApi` is the whole behaviour, without sockets and without a
clock of its own; `server.SimulatorServer` puts it on a loopback port; `world.World` knows what any harvest must hold.
"""
