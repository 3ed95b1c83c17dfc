"""Declaring an integration in Python; reading, linting, bundling and comparing."""
