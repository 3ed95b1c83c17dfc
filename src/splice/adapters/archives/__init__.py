"""Archives of calls: one file format a module."""
