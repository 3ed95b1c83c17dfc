"""Composition that varies by integration: each class wraps something and is a Predictor."""
