"""Providers: language models, here or elsewhere."""
