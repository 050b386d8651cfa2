"""Publisher: puts a blessed bundle into the serving root."""
