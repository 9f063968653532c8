"""Indices out of millions of numbers: which samples to mark, to prune or to keep. Never sees a model."""
