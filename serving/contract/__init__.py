"""What a served bundle and its callers agree on: names, wire messages, tensors, prediction logs.

Nothing here imports TensorFlow. `names` holds the names and limits, `messages` the protocol buffer
classes, `tensors` the codec between numpy and TensorProto, `prediction_logs` warm-up and golden files.
"""
