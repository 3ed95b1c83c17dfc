"""What watches: rollups, profiles, drift, accuracy, experiments, value, alerts."""
