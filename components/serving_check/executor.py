"""Adapts TFX artifacts to the check of a bundle on a server."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils

from crossrec.components import properties
from crossrec.components.blessing import write_blessing
from crossrec.components.errors import DataError
from crossrec.components.serving_check.ahead import take_server
from crossrec.components.serving_check.check import check_bundle
from crossrec.components.serving_check.config import ServingCheckConfig
from crossrec.components.serving_check.report import Report
from crossrec.serving.launch.errors import NoServerError
from crossrec.serving.releases.bundle import VERSION_ASSET, write_version

LOG_FILE = "server.log"
# The number under which the trial's copy is served; publishing gives a bundle its own.
_VERSION = 1
_WEIGHTS = "variables"


class Executor(base_executor.BaseExecutor):
    """Asks a server of its own about the bundle, and writes blessing, report and the server's log."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs the component; see ServingCheck for inputs, outputs and parameters."""
        config = ServingCheckConfig.model_validate_json(exec_properties["config"])
        model = exec_properties["model_name"]
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        with tempfile.TemporaryDirectory(prefix="crossrec-serving-check-") as folder:
            standby = take_server(model)
            version_dir = Path(folder, model, str(_VERSION))
            log = Path(folder, LOG_FILE) if standby is None else standby.log
            trial_copy(properties.uri(input_dict, "bundle"), version_dir)
            if (version_dir / VERSION_ASSET).is_file():
                write_version(version_dir, _VERSION)
            try:
                report = check_bundle(model, version_dir, log, config, standby)
            except NoServerError as error:
                raise DataError(
                    "serving.check.server", f"{config.server!r}: {error.problem}", f"{error.mend}, or choose another."
                ) from error
            report.write(blessing.uri)
            if report.server and log.is_file():
                fileio.copy(str(log), f"{blessing.uri}/{LOG_FILE}", overwrite=True)
        _bless(blessing, report)


def trial_copy(bundle: str, version_dir: Path) -> None:
    """Copies a bundle for a server, which reads local files; the bundle itself must stay as it is.

    Args:
        bundle: Its folder, or the address of it in a store.
        version_dir: Where to; must not be there yet.
    """
    if "://" in bundle:
        io_utils.copy_dir(bundle, str(version_dir))
    else:
        shutil.copytree(bundle, version_dir, copy_function=_link_weights)


def _link_weights(source: str, target: str) -> None:
    """Copies a file. Weights, which are nearly all of a bundle, and which nobody writes to, are linked if possible."""
    if Path(source).parent.name == _WEIGHTS:
        # Another file system, or one without links.
        with contextlib.suppress(OSError):
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def _bless(blessing: types.Artifact, report: Report) -> None:
    write_blessing(blessing, report.blessed, "; ".join(report.failures))
    blessing.set_string_custom_property("server", report.server)
    blessing.set_int_custom_property("checked_version", report.version)
    blessing.set_int_custom_property("failures", len(report.failures))
    for name in ("p50_ms", "p99_ms"):
        value = getattr(report.latency, name, None)
        if value is not None:
            blessing.set_float_custom_property(name, value)
