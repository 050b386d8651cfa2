"""The other side of ranking_speed.py: the same models in deepctr-torch. It imports nothing of this project."""

import json
import sys
import time
import warnings

warnings.filterwarnings("ignore")


def build(model: str, fields: int, ids: int, dimension: int, layers: list[int], crosses: int):
    """The model without regularisation, which would cost it time."""
    import torch
    from deepctr_torch.inputs import SparseFeat
    from deepctr_torch.models import DCN, DeepFM

    columns = [SparseFeat(f"f{n}", vocabulary_size=ids, embedding_dim=dimension) for n in range(fields)]
    options = {"l2_reg_linear": 0, "l2_reg_embedding": 0, "l2_reg_dnn": 0, "dnn_hidden_units": tuple(layers)}
    if model == "dcn_v2":
        options |= {"cross_num": crosses, "cross_parameterization": "matrix", "l2_reg_cross": 0}
    network = (DCN if model == "dcn_v2" else DeepFM)(columns, columns, **options)
    return network, torch.optim.Adam(network.parameters(), lr=1e-3)


def main() -> None:
    """Trains as deepctr-torch's ``fit`` does, on batches that lie ready, and prints examples per second."""
    import torch

    task = json.loads(sys.argv[1])
    torch.set_num_threads(task["threads"])
    torch.manual_seed(0)
    network, optimizer = build(task["model"], *(task[k] for k in ("fields", "ids", "dimension", "layers", "crosses")))
    network.train()
    batches = []
    for _ in range(8):
        ids = torch.randint(0, task["ids"], (task["batch"], task["fields"])).float()
        batches.append((ids, torch.randint(0, 2, (task["batch"],)).float()))
    loss_of = torch.nn.functional.binary_cross_entropy

    def step(number: int) -> None:
        ids, labels = batches[number % len(batches)]
        predicted = network(ids).squeeze(-1)
        optimizer.zero_grad()
        loss_of(predicted, labels).backward()
        optimizer.step()

    for number in range(task["warm_up"]):
        step(number)
    started = time.perf_counter()
    for number in range(task["steps"]):
        step(number)
    rate = task["steps"] * task["batch"] / (time.perf_counter() - started)
    parameters = sum(p.numel() for p in network.parameters())
    print(json.dumps({"rate": rate, "parameters": parameters, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
