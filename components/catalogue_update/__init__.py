"""A newer catalogue for models that stay as they are."""
