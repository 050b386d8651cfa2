"""What a compiled pipeline is, told to the person who compiled it."""

from __future__ import annotations

from crossrec.pipeline.kubeflow.compile import Compiled
from crossrec.pipeline.kubeflow.fixer import tasks_of


def tell(compiled: Compiled, file: str) -> str:
    """The file, what runs where, and what to do next.

    Args:
        compiled: The pipeline.
        file: Where it was written.
    """
    config = compiled.config
    tasks = tasks_of(compiled.spec)
    gpus = [(node, config.resources_of(node).gpu) for node in compiled.nodes]
    with_gpu = [f"{node} ({gpu.count} x {gpu.type})" for node, gpu in gpus if gpu is not None]
    anew = [node for node in compiled.nodes if not tasks[node].get("cachingOptions", {}).get("enableCache")]
    facts = [
        ("image", config.image),
        *([("with a GPU", f"{', '.join(with_gpu)}: {config.gpu_image}")] if with_gpu else []),
        ("data", config.data),
        ("artifacts", config.pipeline_root or "the root that the cluster is set to"),
        ("root", f"{config.root}: checkpoints/, serving/"),
        ("never cached", "all nodes" if len(anew) == len(tasks) else ", ".join(anew)),
        ("released if", _verdicts(compiled)),
    ]
    return "\n".join(
        [
            f"{file}: pipeline '{compiled.name}', {len(tasks)} nodes, for Kubeflow Pipelines",
            *(f"  {name:<13} {value}" for name, value in facts),
            f"Next: crossrec submit {file} --endpoint http://HOST:PORT --wait",
        ]
    )


def _verdicts(compiled: Compiled) -> str:
    artifacts = tasks_of(compiled.spec)["Publisher"]["inputs"]["artifacts"]
    judges = [artifacts[name]["taskOutputArtifact"]["producerTask"] for name in sorted(artifacts) if "blessing" in name]
    return f"{' and '.join(judges)} bless{'es' if len(judges) == 1 else ''} it"
