"""A file system that only TFX's fileio can read, as an object store is."""

import os

from tfx.dsl.io import filesystem_registry
from tfx.dsl.io.plugins.local import LocalFilesystem


class ObjectStore(LocalFilesystem):
    """`store://` is a directory under another name."""

    SUPPORTED_SCHEMES = ["store://"]
    directory = ""

    @classmethod
    def local(cls, path):
        return path.replace("store:/", cls.directory, 1)

    @classmethod
    def open(cls, name, mode="r"):
        return open(cls.local(name), mode)

    @classmethod
    def exists(cls, path):
        return os.path.exists(cls.local(path))

    @classmethod
    def isdir(cls, path):
        return os.path.isdir(cls.local(path))

    @classmethod
    def makedirs(cls, path):
        os.makedirs(cls.local(path), exist_ok=True)

    @classmethod
    def walk(cls, top, topdown=True, onerror=None):
        for folder, folders, files in os.walk(cls.local(top)):
            yield folder.replace(cls.directory, "store:/", 1), folders, files


def use_as_store(directory, monkeypatch):
    """Let `store://` stand for a directory."""
    filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(ObjectStore, priority=0)
    monkeypatch.setattr(ObjectStore, "directory", str(directory))
