"""Indices out of millions of numbers; arrays in, ids out, never a model."""
