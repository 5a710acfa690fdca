"""Real servers on loopback for the demo and the tests. Not part of the wheel."""
