"""An encoder of a few lines in the exported form: the mean of fixed random vectors of a text's words."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from crossrec.components.text.report import EncoderReport

TEXTS = [tf.TensorSpec([None], tf.string)]


class ToyEncoder(tf.Module):
    def __init__(self, dimension, seed):
        super().__init__()
        self.table = tf.Variable(np.random.default_rng(seed).normal(size=(997, dimension)), dtype=tf.float32)

    @tf.function(input_signature=TEXTS, autograph=False)
    def encode(self, texts):
        words = tf.strings.split(tf.strings.lower(texts))
        ids = words.with_values(tf.strings.to_hash_bucket_fast(words.values, 997)).to_tensor(0)
        known = tf.sequence_mask(words.row_lengths(), tf.shape(ids)[1], tf.float32)[..., None]
        return tf.math.l2_normalize(tf.reduce_sum(tf.gather(self.table, ids) * known, 1), 1)

    @tf.function(input_signature=TEXTS, autograph=False)
    def count_tokens(self, texts):
        return tf.cast(tf.strings.split(texts).row_lengths(), tf.int32)


def write_toy_encoder(directory, key, dimension=6, seed=0):
    """Writes one as ``crossrec.components.text.export`` does; gives it."""
    encoder = ToyEncoder(dimension, seed)
    tf.saved_model.save(encoder, f"{directory}/{key}", signatures={})
    report = EncoderReport(key=key, dimension=dimension, digest=f"toy{seed}", kind="small", weight_bytes=997 * 4)
    report.write(f"{directory}/{key}")
    return encoder
