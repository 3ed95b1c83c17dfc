"""The benchmark of switching while calls come in."""
