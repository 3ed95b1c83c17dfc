"""Protocols: what the inner floors need of the world. Each has a contract suite in `testing`."""
