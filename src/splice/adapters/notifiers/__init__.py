"""Notifiers: how people, and systems of theirs, are told of alerts."""
