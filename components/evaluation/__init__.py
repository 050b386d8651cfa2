"""Evaluation: metrics, baselines and verdicts."""
