"""The command line: noun, then verb; results on stdout, talk on stderr."""
