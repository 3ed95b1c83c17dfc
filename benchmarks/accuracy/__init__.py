"""The benchmark of drift: a million rows against a million, by Splice and by its neighbours."""
