"""The ServingCheck component."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts

from crossrec.components import artifacts
from crossrec.components.serving_check.config import ServingCheckConfig
from crossrec.components.serving_check.executor import Executor
from crossrec.components.specs import make_spec, output_channels

ServingCheckSpec = make_spec(
    "ServingCheckSpec",
    inputs={"bundle": artifacts.ServingBundle},
    outputs={"blessing": standard_artifacts.InfraBlessing},
    parameters={"config": str, "model_name": str, "code_digest": str, "refusals": int},
)


class ServingCheck(base_component.BaseComponent):
    """Loads the bundle into a real server, asks it its golden requests, and measures it.

    The server is TensorFlow Serving where the machine has it, as a binary or by Docker, else crossrec's own. The output
    ``blessing`` (``InfraBlessing``) carries the custom property ``blessed``, as that of TFX's InfraValidator, and
    ``blessing_message``, ``server``, ``checked_version``, ``failures``, ``p50_ms`` and ``p99_ms``; at its URI lie the
    whole report, ``serving_check.json``, and the server's log.
    """

    SPEC_CLASS = ServingCheckSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(Executor)

    def __init__(
        self,
        bundle: types.BaseChannel,
        config: ServingCheckConfig,
        model_name: str,
        code_digest: str,
        refusals: int = 0,
    ):
        """Constructs the component.

        Args:
            bundle: Channel of ``ServingBundle``.
            config: Which server, and the limits.
            model_name: Name under which the bundle is served.
            code_digest: Digest of the code, so that the cache notices a change.
            refusals: How many earlier checks have said no. A refusal may be due to a busy machine, so that a new run
                must not take it from the cache.
        """
        outputs = output_channels(ServingCheckSpec)
        super().__init__(
            spec=ServingCheckSpec(
                bundle=bundle,
                config=config.model_dump_json(),
                model_name=model_name,
                code_digest=code_digest,
                refusals=refusals,
                **outputs,
            )
        )
