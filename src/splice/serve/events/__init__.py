"""Events: the surface that reads streams."""
