"""What is computed: the spec, the pipeline graph, the runners, the command line, the examples."""
