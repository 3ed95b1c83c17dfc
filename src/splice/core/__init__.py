"""The nouns: immutable types and pure functions; no I/O, no clock, no environment."""
