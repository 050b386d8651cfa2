"""The features of the spec, computed by TensorFlow Transform on Beam."""
