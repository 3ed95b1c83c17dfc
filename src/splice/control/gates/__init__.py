"""Gates: what a version of a model must pass; one file a family."""
