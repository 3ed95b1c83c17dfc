"""Outbox tables of users' own applications, in their own databases."""
