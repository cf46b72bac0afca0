"""Deep networks: feature-learning strength swept by an output multiplier, and what it does."""
