"""The other sides of index.py: Faiss, hnswlib, ScaNN. It imports nothing of this project."""

import json
import sys
import time

import numpy as np

K = 100
EF = [100, 125, 150, 200, 250, 300, 400, 500, 700, 1000, 1500, 2000]
SHARES = (0.002, 0.004, 0.006, 0.008, 0.01, 0.0125, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.05, 0.06, 0.08, 0.1, 0.15)


class FaissIvf:
    """Inverted lists, flat; as many as the guidelines of Faiss say, about four times the root of the items."""

    def __init__(self, items):
        import faiss

        faiss.omp_set_num_threads(1)
        lists = 4 * round(len(items) ** 0.5)
        self._quantizer = faiss.IndexFlatIP(items.shape[1])
        self._index = faiss.IndexIVFFlat(self._quantizer, items.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
        random = np.random.default_rng(0)
        self._index.train(items[random.choice(len(items), min(len(items), 50 * lists), replace=False)])
        self._index.add(items)
        self.settings = sorted({max(1, round(share * lists)) for share in SHARES})
        self.bytes = faiss.serialize_index(self._index).nbytes

    def search(self, queries, setting):
        self._index.nprobe = setting
        return self._index.search(queries, K)[1]


class FaissHnsw:
    """Graph with 16 links, built looking at 100."""

    def __init__(self, items):
        import faiss

        faiss.omp_set_num_threads(1)
        self._index = faiss.IndexHNSWFlat(items.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        self._index.hnsw.efConstruction = 100
        self._index.add(items)
        self.settings, self.bytes = EF, faiss.serialize_index(self._index).nbytes

    def search(self, queries, setting):
        self._index.hnsw.efSearch = setting
        return self._index.search(queries, K)[1]


class Hnswlib:
    """The same sizes."""

    def __init__(self, items):
        import hnswlib

        self._index = hnswlib.Index(space="ip", dim=items.shape[1])
        self._index.init_index(max_elements=len(items), ef_construction=100, M=16)
        self._index.set_num_threads(1)
        self._index.add_items(items, num_threads=1)
        self.settings, self.bytes = EF, self._index.index_file_size()

    def search(self, queries, setting):
        self._index.set_ef(setting)
        return self._index.knn_query(queries, K, num_threads=1)[0]


class Scann:
    """As its guide says for a million: leaves, anisotropic product codes, exact re-scoring of the first."""

    def __init__(self, items):
        import scann

        leaves = 2 * round(len(items) ** 0.5)
        self._index = (
            scann.scann_ops_pybind.builder(items, K, "dot_product")
            .set_n_training_threads(1)
            .tree(leaves, leaves // 20, training_sample_size=min(len(items), 250_000))
            .score_ah(2, anisotropic_quantization_threshold=0.2)
            .reorder(4 * K)
            .build()
        )
        self.settings = sorted({max(1, round(share * leaves)) for share in SHARES})
        self.bytes = items.nbytes + items.shape[0] * items.shape[1] // 4

    def search(self, queries, setting):
        if len(queries) == 1:
            return self._index.search(queries[0], leaves_to_search=setting)[0][None]
        return self._index.search_batched(queries, leaves_to_search=setting)[0]


def main():
    """Builds one index and measures it, one task per line."""
    name, directory = sys.argv[1:]
    kinds = {"faiss_ivf": FaissIvf, "faiss_hnsw": FaissHnsw, "hnswlib": Hnswlib, "scann": Scann}
    started = time.perf_counter()
    side = kinds[name](np.load(f"{directory}/items.npy"))
    seconds = time.perf_counter() - started
    print(json.dumps({"settings": side.settings, "build_seconds": seconds, "bytes": int(side.bytes)}), flush=True)
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
