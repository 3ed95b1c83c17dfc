"""How experiments are judged: their statistics by simulation."""
