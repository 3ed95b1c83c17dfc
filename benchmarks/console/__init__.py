"""How long a page of the console takes beside ten million recorded calls."""
