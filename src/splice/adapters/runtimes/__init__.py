"""Runtimes: load a model file and run it in this process."""
