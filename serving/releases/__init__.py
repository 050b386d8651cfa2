"""Releases: numbered version directories that TensorFlow Serving watches, and how they come to be."""
