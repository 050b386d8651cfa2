"""Interaction layers: how the fields of an example meet. One paper per file, one interface for all.

An interaction maps fields ``[N, F, d]`` to ``[N, units]``; the ranking model puts its heads on top.
"""
