"""Vectors of all texts, each embedded once, as columns of the examples."""
