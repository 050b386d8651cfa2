"""Starting a model server on this machine: TensorFlow Serving's binary, its Docker image, or the local server.

`choose` finds the server and says how it is started, `ServerProcess` runs it so that it never outlives this process,
and `readiness` asks whether it answers. Nothing here imports TensorFlow.
"""
