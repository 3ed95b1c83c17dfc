"""The way of one call: `engine.py` reads from top to bottom as the path itself."""
