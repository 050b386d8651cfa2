"""`crossrec compile`: the pipeline of a spec as a file that Kubeflow Pipelines runs."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

_FORMATS = (".yaml", ".yml")


def add_parser(subparsers: Any) -> None:
    """Registers the command."""
    parser = subparsers.add_parser(
        "compile",
        help="write the pipeline of a spec for Kubeflow Pipelines",
        description=(
            "Compile the pipeline of a spec into a specification for Kubeflow Pipelines (KFP v2): the same graph that "
            "`crossrec run` runs here. The spec's section 'kubeflow' says with what: image, volumes, resources. Every "
            "reference in the outcome is checked. Equal specs give equal files."
        ),
        epilog="Example: crossrec compile my-spec.yaml --runner kubeflow -o pipeline.yaml",
    )
    parser.add_argument("spec", metavar="SPEC", help="a YAML file, or the name of an example")
    parser.add_argument(
        "--runner", choices=("kubeflow",), default="kubeflow", help="for what to compile (default: kubeflow)"
    )
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="pipeline.yaml", help="file to write (default: pipeline.yaml)"
    )
    parser.add_argument("--image", metavar="IMAGE", help="container image, in place of kubeflow.image")
    parser.add_argument(
        "--gpu-image", metavar="IMAGE", help="image of nodes with a GPU, in place of kubeflow.gpu_image"
    )
    parser.add_argument("--verbose", action="store_true", help="leave the libraries' logs on the terminal")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command; 0 if the file was written, 1 if it could not be, 2 for bad input."""
    from crossrec.pipeline.terminal import quiet_libraries

    if not options.output.endswith(_FORMATS):
        print(f"-o {options.output}: KFP reads files that end in {' or '.join(_FORMATS)}. Name one", file=sys.stderr)
        return 2
    with tempfile.NamedTemporaryFile(suffix=".log") as log, quiet_libraries(log.name, options.verbose) as terminal:
        from crossrec.pipeline.kubeflow.compile import compile_pipeline, with_images
        from crossrec.pipeline.kubeflow.overview import tell
        from crossrec.pipeline.kubeflow.validator import SpecificationError
        from crossrec.pipeline.spec.errors import SpecError
        from crossrec.pipeline.spec.load import load_spec

        images = {"image": options.image, "gpu_image": options.gpu_image}
        try:
            spec = with_images(load_spec(options.spec), {key: image for key, image in images.items() if image})
            compiled = compile_pipeline(spec, options.spec)
        except (SpecError, SpecificationError) as error:
            terminal.error.write(f"{error}\n")
            return 2
        try:
            _write(Path(options.output), compiled.text())
        except OSError as error:
            terminal.error.write(f"-o {options.output}: {error.strerror}. Name a file that can be written\n")
            return 1
        terminal.out.write(f"{tell(compiled, options.output)}\n")
    return 0


def _write(path: Path, text: str) -> None:
    """Writes the file whole, so that nobody submits half of one."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
