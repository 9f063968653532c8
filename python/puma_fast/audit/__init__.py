"""Evidence: what an edit changed, and what the model gives away."""
