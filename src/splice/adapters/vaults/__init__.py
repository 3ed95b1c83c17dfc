"""Vaults, and the store of the keys that they wrap."""
