"""Splice: carries an AI capability from a pilot into the systems a company already runs."""
__version__ = "0.1.0"
