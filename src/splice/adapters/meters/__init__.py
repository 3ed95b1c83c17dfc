"""Meters: counters of budgets and rate limits, in memory and in Redis."""
