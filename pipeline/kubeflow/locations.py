"""Where artifacts lie for KFP, and where for the process in the container.

KFP's launcher stages artifacts: what lies at ``minio://bucket/key`` is at ``/minio/bucket/key`` while the container
runs, both ways (``LocalPathForURI`` in backend/src/v2/component/launcher_v2.go). Executors work on those paths, so
that it does not matter which stores TensorFlow and Beam can open. With the artifacts on a volume nothing is staged:
bucket and key name a directory below the volume's, and the store keeps no more than the names.
"""

from __future__ import annotations

from dataclasses import dataclass

_STAGED = {"gs://": "gcs/", "s3://": "s3/", "minio://": "minio/"}


@dataclass(frozen=True)
class Staging:
    """How the addresses of artifacts become paths.

    Attributes:
        root: Directory below which the launcher stages; it is always ``/`` on a cluster.
        volume: Directory on a volume that holds all artifacts; "" where the launcher stages them.
        remote: Whether addresses stay as they are, because workers elsewhere must reach them.
    """

    root: str = "/"
    volume: str = ""
    remote: bool = False

    def path(self, uri: str) -> str:
        """The path of an artifact's address; addresses of other kinds stay as they are.

        Args:
            uri: As KFP gives it.

        Example:
            >>> Staging().path("minio://bucket/run/1/examples")
            '/minio/bucket/run/1/examples'
            >>> Staging(volume="/mnt/artifacts").path("gs://bucket/run/1/examples")
            '/mnt/artifacts/bucket/run/1/examples'
        """
        if self.remote:
            return uri
        for scheme, folder in _STAGED.items():
            if uri.startswith(scheme):
                key = uri.removeprefix(scheme)
                return f"{self.volume.rstrip('/')}/{key}" if self.volume else f"{self.root.rstrip('/')}/{folder}{key}"
        return uri
