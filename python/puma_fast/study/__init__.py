"""What demos and studies need: data loaders, models, the papers' experiments."""
