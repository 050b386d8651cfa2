"""Validation of examples against their schema, which stops the run."""
