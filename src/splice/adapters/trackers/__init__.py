"""Trackers: where training runs are logged."""
