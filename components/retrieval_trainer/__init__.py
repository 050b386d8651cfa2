"""The retrieval model: two towers trained with in-batch negatives."""
