"""Buses: where events are read and messages sent."""
