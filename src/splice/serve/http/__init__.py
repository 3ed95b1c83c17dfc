"""HTTP, natively: calls, outcomes, health, metrics, OpenAPI."""
