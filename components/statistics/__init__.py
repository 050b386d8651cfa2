"""Statistics of the examples."""
