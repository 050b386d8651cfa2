"""Starting a model server on this machine: TensorFlow Serving's binary, its Docker image, or the local server.

`choose` finds the server and says how it is started, `ServerProcess` runs it so that it never outlives this process,
and `readiness` asks whether it answers. `trial_server` tries one version; `standby_server` starts the server of such a
trial ahead. Nothing here imports TensorFlow.
"""
