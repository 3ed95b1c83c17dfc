"""Telemetry: finished calls as spans."""
