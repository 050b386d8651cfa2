"""The features and crosses of the spec, computed by TensorFlow Transform on Beam."""
