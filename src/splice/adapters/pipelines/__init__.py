"""Pipelines in the languages of other systems."""
