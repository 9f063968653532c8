"""Numbers for samples: influence on a criterion, confidence. Everything that differentiates the model."""
