"""The benchmark of several models behind one server."""
