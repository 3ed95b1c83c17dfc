"""One contract suite a port; every adapter inherits its own and adds nothing but a fixture."""
