"""Features and crosses: their configuration, their transforms and their place in the serving graph."""
