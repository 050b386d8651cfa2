"""Running the component without a pipeline around it."""

from __future__ import annotations

import json
from pathlib import Path

from tfx.types import artifact_utils, standard_artifacts

from crossrec.components.artifacts import PreviousModel, TextEmbeddings, TextEncoders
from crossrec.components.text_embedder.config import TextEmbedderConfig
from crossrec.components.text_embedder.executor import Executor


def artifact(kind, directory, splits=None):
    made = kind()
    made.uri = str(directory)
    if splits:
        made.split_names = artifact_utils.encode_split_names(list(splits))
    return [made]


def run_embedder(root, encodings, interactions, items, splits, name="embedded", cache="cache", previous=None):
    """Embeds with the encoders of ``encoders`` below the root; gives the directory of the outputs.

    There are ``interactions``, ``items`` and ``embeddings`` in it, and ``made_by.json``, the digests of the columns.
    """
    out = Path(root) / name
    inputs = {
        "interactions": artifact(standard_artifacts.Examples, interactions, splits),
        "items": artifact(standard_artifacts.Examples, items, ["train"]),
        "text_encoders": artifact(TextEncoders, f"{root}/encoders"),
    }
    if previous is not None:
        previous.write(str(out / "previous"))
        inputs["previous_model"] = artifact(PreviousModel, out / "previous")
    outputs = {
        "embedded_interactions": artifact(standard_artifacts.Examples, out / "interactions"),
        "embedded_items": artifact(standard_artifacts.Examples, out / "items"),
        "text_embeddings": artifact(TextEmbeddings, out / "embeddings"),
    }
    context = Executor.Context(tmp_dir=str(out / "tmp"), unique_id="1", beam_pipeline_args=[])
    config = TextEmbedderConfig(encodings=encodings).model_dump_json()
    Executor(context).Do(inputs, outputs, {"config": config, "cache_root": f"{root}/{cache}"})
    assert json.loads(outputs["embedded_interactions"][0].split_names) == list(splits)
    (out / "made_by.json").write_text(outputs["embedded_items"][0].get_string_custom_property("encoded_by"))
    return out
