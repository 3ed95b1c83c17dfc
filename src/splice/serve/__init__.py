"""Ways in: wire to nouns and back, nothing else."""
