"""The catalogue's embeddings, arranged for search inside the serving graph."""
