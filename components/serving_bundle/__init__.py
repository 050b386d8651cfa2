"""Query tower, index, item features, crosses and ranking in one SavedModel."""
