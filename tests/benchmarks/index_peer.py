"""The other sides of index.py: Faiss, hnswlib, ScaNN. It imports nothing of this project.

What was built is written beside the vectors, and read again by the next measurement of the same folder.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

K = 100
# Steps of a twentieth, so that a recall is not met with much to spare.
EF = [round(100 * 1.05**step) for step in range(66)]
SHARES = [0.002 * 1.05**step for step in range(90)]


class FaissIvf:
    """Inverted lists, flat; as many as the guidelines of Faiss say, about four times the root of the items."""

    def __init__(self, items, path):
        import faiss

        faiss.omp_set_num_threads(1)
        if not path.exists():
            lists = 4 * round(len(items) ** 0.5)
            quantizer = faiss.IndexFlatIP(items.shape[1])
            index = faiss.IndexIVFFlat(quantizer, items.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
            random = np.random.default_rng(0)
            index.train(items[random.choice(len(items), min(len(items), 50 * lists), replace=False)])
            index.add(items)
            faiss.write_index(index, str(path))
        self._index = faiss.read_index(str(path))
        self.settings = sorted({max(1, round(share * self._index.nlist)) for share in SHARES})
        self.bytes = path.stat().st_size

    def search(self, queries, setting):
        self._index.nprobe = setting
        return self._index.search(queries, K)[1]


class FaissHnsw:
    """Graph with 16 links, built looking at 100."""

    def __init__(self, items, path):
        import faiss

        faiss.omp_set_num_threads(1)
        if not path.exists():
            index = faiss.IndexHNSWFlat(items.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
            index.hnsw.efConstruction = 100
            index.add(items)
            faiss.write_index(index, str(path))
        self._index = faiss.read_index(str(path))
        self.settings, self.bytes = EF, path.stat().st_size

    def search(self, queries, setting):
        self._index.hnsw.efSearch = setting
        return self._index.search(queries, K)[1]


class Hnswlib:
    """The same sizes."""

    def __init__(self, items, path):
        import hnswlib

        self._index = hnswlib.Index(space="ip", dim=items.shape[1])
        if path.exists():
            self._index.load_index(str(path), max_elements=len(items))
        else:
            self._index.init_index(max_elements=len(items), ef_construction=100, M=16)
            self._index.set_num_threads(1)
            self._index.add_items(items, num_threads=1)
            self._index.save_index(str(path))
        self._index.set_num_threads(1)
        self.settings, self.bytes = EF, path.stat().st_size

    def search(self, queries, setting):
        self._index.set_ef(setting)
        return self._index.knn_query(queries, K, num_threads=1)[0]


class Scann:
    """As its guide says for a million: leaves, anisotropic product codes, exact re-scoring of the first.

    Of the more leaves, the more are scored again, or recall would end below 0.9: 4 to 20 times as many as are wanted.
    """

    def __init__(self, items, path):
        import scann

        leaves = 2 * round(len(items) ** 0.5)
        if path.exists():
            self._index = scann.scann_ops_pybind.load_searcher(str(path))
        else:
            self._index = (
                scann.scann_ops_pybind.builder(items, K, "dot_product")
                .set_n_training_threads(1)
                .tree(leaves, leaves // 20, training_sample_size=min(len(items), 250_000))
                .score_ah(2, anisotropic_quantization_threshold=0.2)
                .reorder(20 * K)
                .build()
            )
            path.mkdir()
            self._index.serialize(str(path))
        self.settings = sorted({max(1, round(share * leaves)) for share in SHARES})
        self.bytes = sum(file.stat().st_size for file in path.iterdir())

    def search(self, queries, setting):
        limits = {
            "leaves_to_search": setting,
            "pre_reorder_num_neighbors": min(max(10 * setting, 4 * K), 20 * K),
            "final_num_neighbors": K,
        }
        if len(queries) == 1:
            return self._index.search(queries[0], **limits)[0][None]
        return self._index.search_batched(queries, **limits)[0]


def main():
    """Builds one index and measures it, one task per line."""
    name, directory = sys.argv[1:]
    kinds = {"faiss_ivf": FaissIvf, "faiss_hnsw": FaissHnsw, "hnswlib": Hnswlib, "scann": Scann}
    path, record = Path(directory) / f"{name}.index", Path(directory) / f"{name}.json"
    started, worked = time.perf_counter(), time.process_time()
    side = kinds[name](np.load(f"{directory}/items.npy"), path)
    if not record.exists():
        seconds, worked = time.perf_counter() - started, time.process_time() - worked
        record.write_text(json.dumps({"build_seconds": seconds, "build_cpu_seconds": worked}))
    built = {"settings": side.settings, "bytes": int(side.bytes), **json.loads(record.read_text())}
    print(json.dumps(built), flush=True)
    queries, truth = np.load(f"{directory}/queries.npy"), np.load(f"{directory}/truth.npy")
    for line in sys.stdin:
        task = json.loads(line)
        first, last = task["first"], task["first"] + task["count"]
        chosen = queries[first:last]
        batches = [chosen[start : start + task["batch"]] for start in range(0, len(chosen), task["batch"])]
        for batch in batches[:3]:
            side.search(batch, task["setting"])
        started, worked = time.perf_counter(), time.process_time()
        found = [side.search(batch, task["setting"]) for batch in batches]
        seconds, worked = time.perf_counter() - started, time.process_time() - worked
        hits = [len(np.intersect1d(a, b)) / K for a, b in zip(np.concatenate(found), truth[first:last])]
        rates = {"rate": len(chosen) / seconds, "cpu_rate": len(chosen) / worked}
        print(json.dumps({**rates, "recall": float(np.mean(hits))}), flush=True)


if __name__ == "__main__":
    main()
