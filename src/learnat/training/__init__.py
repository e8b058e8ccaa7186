"""Training: prompts, tries of token sequences, log-probabilities, losses and the Lightning modules over them."""
