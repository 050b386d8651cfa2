"""A real server loads the bundle, gives the recorded answers, and is quick enough."""
