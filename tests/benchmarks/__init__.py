"""Benchmarks; each is a program: `python -m tests.benchmarks.NAME`."""

import os

# TensorFlow reads it when it is first imported, and writes lines about absent GPUs otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
