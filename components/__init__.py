"""How each step works: one folder per TFX component; features/ and modeling/ are shared."""
