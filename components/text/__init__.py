"""Text encoders: from strings to vectors, the same in the pipeline and in the served graph."""
