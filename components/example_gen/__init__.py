"""Data ingestion: interactions and items from CSV or Parquet to tf.Example, checked on the way.

`config` holds the spec's ``data`` part, `checks` what can be refused before a pipeline starts, `component`
the two TFX components, `report` what they read.
"""
