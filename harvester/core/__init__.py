"""Rules of the harvester: pure and synchronous, without clock, randomness, input or output."""
