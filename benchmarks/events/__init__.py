"""The benchmark of events: one model behind Kafka, one process, by Splice and by its neighbours."""
