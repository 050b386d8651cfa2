"""The crosses of a pipeline: those that the spec names, those that the data speak for, and what each covers."""
