"""Which release the models of a run start from."""
