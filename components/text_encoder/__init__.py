"""The language models of text features: loaded, or trained on the project's own texts."""
