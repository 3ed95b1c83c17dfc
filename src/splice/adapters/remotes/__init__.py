"""Remotes: reach models that run behind an endpoint."""
