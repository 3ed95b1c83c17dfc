"""Schema Registries."""
