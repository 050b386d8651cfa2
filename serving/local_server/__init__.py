"""A server for one machine without TensorFlow Serving: the same gRPC services, flags, codes and messages.

It stands in where no TensorFlow Serving binary or container is at hand, and copies the behaviour of version
2.16. Importing this package is light: `LocalServer` starts the server in a process of its own.

It differs from TensorFlow Serving where a development machine is better served:

- a failed load is tried again after a second, not after a minute, and other models load meanwhile;
- a configuration that is refused changes nothing, not even its labels; a reload looks at the base paths at once;
- requests beyond ``--grpc_max_threads`` wait; one whose deadline passes while it waits is not run, but one that
  runs is not interrupted;
- a tensor that repeats its last value grows to four million values at most;
- SIGTERM lets the requests under way finish, for five seconds.

There is no REST interface, no TensorFlow Lite, no TensorFlow Decision Forests op, and no other platform than
``tensorflow``.
"""

from crossrec.serving.local_server.process import LocalServer, ServerStartError

__all__ = ["LocalServer", "ServerStartError"]
