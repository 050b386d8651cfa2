"""The `crossrec` command."""
