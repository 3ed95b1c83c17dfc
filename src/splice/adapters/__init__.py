"""Bridges to the world: one folder a port, one file a foreign library."""
