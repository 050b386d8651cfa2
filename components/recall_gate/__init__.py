"""Whether an index finds what it should, where nothing else has to be measured again."""
