"""A new model from an old one."""
