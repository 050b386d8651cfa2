"""The spec: one YAML file that says what is read, computed, learned, measured and served."""
