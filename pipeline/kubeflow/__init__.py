"""The pipeline on Kubeflow Pipelines: the same graph as a KFP v2 specification, and how its containers start."""
