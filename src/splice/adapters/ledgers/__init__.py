"""Ledgers: where calls, outcomes, releases and models are kept."""
