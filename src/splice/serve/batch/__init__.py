"""Batch: an integration over a file of requests, resumable to the row."""
