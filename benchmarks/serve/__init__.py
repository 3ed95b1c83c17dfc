"""The benchmark of serving: one model, one worker, one core, by Splice and by its neighbours."""
