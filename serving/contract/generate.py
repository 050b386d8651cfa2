"""Write the wire messages' descriptors from the installed tensorflow-serving-api.

Run ``python -m crossrec.serving.contract.generate`` in the pipeline environment after a new version of
tensorflow-serving-api. The client reads the file that this writes, so it needs neither that package nor
TensorFlow.
"""

import argparse
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2

DESCRIPTORS = Path(__file__).with_name("messages.binpb")


def installed_descriptors() -> Any:
    """Collect the descriptors that the contract needs from the installed modules.

    Returns:
        FileDescriptorSet with the files of the messages and of everything that they import,
        each after its imports.
    """
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_management_pb2,
        predict_pb2,
        prediction_log_pb2,
    )

    files: dict[str, bytes] = {}

    def add(file: Any) -> None:
        if file.name not in files:
            for dependency in file.dependencies:
                add(dependency)
            files[file.name] = file.serialized_pb

    for module in (
        predict_pb2,
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_management_pb2,
        prediction_log_pb2,
    ):
        add(module.DESCRIPTOR)
    descriptors = descriptor_pb2.FileDescriptorSet()
    for serialized in files.values():
        descriptors.file.add().ParseFromString(serialized)
    return descriptors


def main(arguments: "list[str] | None" = None) -> int:
    """Write messages.binpb, or only compare it with what is installed.

    Args:
        arguments: Command-line arguments; the process's own where None.

    Returns:
        Exit code: 1 where ``--check`` finds a difference.
    """
    parser = argparse.ArgumentParser(prog="python -m crossrec.serving.contract.generate", description=main.__doc__)
    parser.add_argument("--check", action="store_true", help="compare with the checked-in file, write nothing")
    options = parser.parse_args(arguments)
    serialized = installed_descriptors().SerializeToString(deterministic=True)
    if options.check:
        same = DESCRIPTORS.is_file() and DESCRIPTORS.read_bytes() == serialized
        print("messages.binpb is up to date" if same else "messages.binpb differs: run without --check")
        return 0 if same else 1
    DESCRIPTORS.write_bytes(serialized)
    print(f"wrote {DESCRIPTORS.name}: {len(serialized):,} bytes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
