"""A server for one machine without TensorFlow Serving: the same gRPC services, flags, codes and messages.

It stands in where no TensorFlow Serving binary or container is at hand, and copies the behaviour of version
2.16. Importing this package is light: `LocalServer` starts the server in a process of its own.
"""

from crossrec.serving.local_server.process import LocalServer, ServerStartError

__all__ = ["LocalServer", "ServerStartError"]
