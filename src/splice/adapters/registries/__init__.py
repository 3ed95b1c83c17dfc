"""Registries: versions of models that other systems keep."""
