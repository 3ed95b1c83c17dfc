"""Caches: exact and semantic."""
