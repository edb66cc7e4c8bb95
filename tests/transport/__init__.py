"""The transport, against real servers on loopback."""
