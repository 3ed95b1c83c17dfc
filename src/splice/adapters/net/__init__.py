"""The HTTP client that adapters of every port share."""
