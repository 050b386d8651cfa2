"""BM25: golden numbers by hand, a second implementation over strings, properties, padding, collisions, and the fit."""

import math
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from crossrec.components.features.config import FeaturesConfig
from crossrec.components.features.crosses import BM25Cross
from crossrec.components.features.crosses.bm25 import TermTable, bm25, bm25_numpy, fit_terms
from crossrec.components.features.crosses.fitting import CrossFitter, fit_crosses
from crossrec.components.features.preprocessing import dense_to_sparse, preprocessing_fn
from crossrec.components.features.schema import ITEM_ROW, add_crosses, build_schema

ALL = ("bm25", "share", "coverage", "matched")
WORDS = ["red", "blue", "green", "shoe", "boot", "sock", "lamp", "desk", "chair", "of", "the", "a"]
IDS = {word: 1 + place for place, word in enumerate(WORDS)}
TITLES = ["red shoe", "blue shoe the shoe", "green sock", "desk lamp of the desk", "", "red red red boot"]
BRANDS = ["boot", "", "red", "lamp", "", "sock sock"]


def cross(texts=1, **options):
    return BM25Cross(inputs=("query", "title", "brand")[: texts + 1], **{"measures": ALL, **options})


def ids(texts, width):
    """Ids of the words, those that no item has from 100 on."""
    rows = [[IDS.get(word, 100 + len(word)) for word in text.split()] for text in texts]
    return np.array([row[:width] + [-1] * (width - len(row)) for row in rows], np.int64).reshape(len(texts), width)


def both(query, texts, table, config):
    """The function and its reference, which must agree."""
    expected = bm25_numpy(query, texts, table, config)
    found = bm25(tf.constant(query), [tf.constant(text) for text in texts], as_tensors(table), config)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    return expected


def as_tensors(table):
    return tuple(tf.constant(array) for array in (table.keys, table.idf, table.lengths))


def score(query, item, config, titles=TITLES, width=5):
    """The measures of one query and one of the titles."""
    table = fit_terms([ids(titles, width)])
    return both(ids([query], 6), [ids([item], width)], table, config)[0]


def by_hand(query, fields, corpora, config):
    """The formulas over strings, sums written out."""
    weights = config.weights or [1.0] * len(fields)
    items = [[text.split() for text in texts] for texts in zip(*corpora)]
    items = [texts for texts in items if any(texts)]
    means = []
    for corpus in corpora:
        lengths = [len(text.split()) for text in corpus if text.split()]
        means.append(sum(lengths) / len(lengths))
    terms = sorted(set(query.split()))
    total = asked = found = 0.0
    for term in terms:
        with_term = sum(any(term in text for text in texts) for texts in items)
        idf = math.log(1 + (len(items) - with_term + 0.5) / (with_term + 0.5))
        frequency = 0.0
        for field, mean, weight in zip(fields, means, weights):
            if field.split():
                norm = 1 - config.b + config.b * len(field.split()) / mean
                frequency += weight * Counter(field.split())[term] / norm
        asked += idf
        if frequency > 0:
            found += idf
            total += idf * frequency * (config.k1 + 1) / (frequency + config.k1)
    if not terms:
        return [0.0] * 4
    whole = all(any(term in field.split() for field in fields) for term in terms)
    return [total, total / (config.k1 + 1) / asked, found / asked, float(whole)]


def test_golden_numbers_by_hand():
    # Five titles have words, 17 in all: "red" is in two of them, "shoe" in two, "lamp" in one.
    shoe, lamp = math.log(1 + 3.5 / 2.5), math.log(1 + 4.5 / 1.5)
    norm = 1.2 * (0.25 + 0.75 * 2 / 3.4)
    found = score("red shoe", "red shoe", cross())
    np.testing.assert_allclose(found, [2 * shoe * 2.2 / (1 + norm), 1 / (1 + norm), 1, 1], rtol=1e-6)
    # Four words, "shoe" twice; "lamp" is not there.
    norm = 1.2 * (0.25 + 0.75 * 4 / 3.4)
    expected = shoe * 2 * 2.2 / (2 + norm)
    found = score("shoe lamp", "blue shoe the shoe", cross())
    np.testing.assert_allclose(found, [expected, expected / 2.2 / (shoe + lamp), shoe / (shoe + lamp), 0], rtol=1e-6)
    table = fit_terms([ids(TITLES, 5)])
    assert table.lengths == np.float32(3.4) and table.keys.tolist() == sorted(
        {i for row in ids(TITLES, 5) for i in row if i > 0}
    )
    np.testing.assert_allclose(table.idf[0], math.log(1 + 5.5 / 0.5), rtol=1e-6)


@pytest.mark.parametrize("options", [{}, {"k1": 2.0, "b": 0.3}, {"k1": 0.0}, {"b": 0.0}, {"b": 1.0, "k1": 0.4}])
@pytest.mark.parametrize("texts", [1, 2])
def test_a_second_implementation_over_strings_agrees(texts, options):
    rng = np.random.default_rng(0)
    known = WORDS[:8]

    def text(most, words):
        return " ".join(rng.choice(words, rng.integers(0, most + 1)))

    corpora = [[text(6, known) for _ in range(40)] for _ in range(texts)]
    config = cross(texts, **options, weights=(2.0, 0.5)[:texts])
    queries = [text(5, WORDS) for _ in range(60)]
    items = [[corpus[place] for corpus in corpora] for place in rng.integers(0, 40, 60)]
    columns = [ids([item[place] for item in items], 6) for place in range(texts)]
    found = both(ids(queries, 5), columns, fit_terms([ids(corpus, 6) for corpus in corpora]), config)
    expected = [by_hand(query, item, corpora, config) for query, item in zip(queries, items)]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert (np.array(expected)[:, 3] == 1).any() and (np.array(expected)[:, 0] == 0).any()


def test_more_of_a_word_is_worth_more_but_less_each_time():
    texts = ["lamp" + " red" * n + " of" * (5 - n) for n in range(5)]
    scores = [score("red", text, cross(), width=6)[0] for text in texts]
    gains = np.diff(scores)
    assert scores[0] == 0 and (gains > 0).all() and (np.diff(gains) < 0).all()
    assert scores[-1] < 2.2 * fit_terms([ids(TITLES, 6)]).idf.max()


def test_a_rarer_word_is_worth_more_and_a_longer_text_less():
    rare, frequent = score("lamp", "lamp shoe", cross())[0], score("shoe", "lamp shoe", cross())[0]
    assert rare > frequent > 0
    short, long = score("shoe", "red shoe", cross()), score("shoe", "red shoe blue sock", cross())
    assert short[0] > long[0] > 0 and short[2] == long[2] == 1
    alike = [score("shoe", text, cross(b=0.0))[0] for text in ("shoe", "shoe red blue sock")]
    assert alike[0] == alike[1]
    assert score("shoe", "shoe shoe", cross(k1=0.0))[0] == score("shoe", "shoe", cross(k1=0.0))[0]


def test_a_word_that_every_item_has_is_worth_little_and_never_less_than_nothing():
    table = fit_terms([ids(["the red"] * 9 + ["the shoe"], 2)])
    idf = dict(zip(table.keys, table.idf[1:]))
    assert 0 < idf[IDS["the"]] < 0.05 < idf[IDS["red"]] < idf[IDS["shoe"]]


def test_orders_repetitions_and_places_of_padding_do_not_matter():
    expected = score("red shoe", "blue shoe the red", cross())
    for query, item in (("shoe red", "red the shoe blue"), ("red red shoe shoe red", "blue shoe the red")):
        np.testing.assert_array_equal(score(query, item, cross()), expected)
    table = fit_terms([ids(TITLES, 5)])
    query = np.array([[-1, IDS["shoe"], -1, -1, IDS["red"]]])
    item = np.array([[IDS["blue"], -1, IDS["shoe"], -1, -1, IDS["the"], IDS["red"], -1]])
    np.testing.assert_allclose(both(query, [item], table, cross())[0], expected, rtol=1e-6)


def test_a_word_that_no_item_has_weighs_most_and_is_never_found():
    known, with_unknown = score("shoe", "red shoe", cross()), score("shoe unheard", "red shoe", cross())
    assert known[0] == with_unknown[0] and known[3] == 1 and with_unknown[3] == 0
    shoe, unknown = math.log(1 + 3.5 / 2.5), math.log(1 + 5.5 / 0.5)
    np.testing.assert_allclose(with_unknown[2], shoe / (shoe + unknown), rtol=1e-6)


def test_nothing_is_found_where_nothing_is_asked_or_nothing_is_there():
    assert score("", "red shoe", cross()).tolist() == [0] * 4
    for options in ({}, {"b": 1.0}, {"k1": 0.0}):
        assert score("red", "", cross(**options)).tolist() == score("", "", cross(**options)).tolist() == [0] * 4
    nothing = fit_terms([ids(["", ""], 3)])
    assert nothing.keys.tolist() == [0] and nothing.lengths == 1.0
    assert both(ids(["red"], 2), [ids([""], 3)], nothing, cross()).tolist() == [[0] * 4]
    assert both(ids([], 2), [ids([], 3)], nothing, cross()).shape == (0, 4)
    assert fit_terms([np.zeros((0, 4), np.int64)]).keys.tolist() == [0]


def test_words_that_share_an_id_count_as_one():
    table = fit_terms([np.array([[1, 2], [3, 2]])])
    # Two different words of a query with one id: it is asked once, and one of them is enough to find it.
    assert both(np.array([[2, 2]]), [np.array([[2, -1]])], table, cross())[0, 3] == 1
    np.testing.assert_array_equal(
        both(np.array([[2, 2]]), [np.array([[2, 1]])], table, cross()),
        both(np.array([[2, -1]]), [np.array([[2, 1]])], table, cross()),
    )


def test_several_texts_are_weighed_before_they_saturate():
    """A title of weight two is a title that stands there twice, in a text of mean length and without that norm."""
    titles, brands = ids(TITLES, 5), ids(BRANDS, 2)
    one = fit_terms([np.concatenate([titles, titles, brands], 1)])
    two = fit_terms([titles, brands])
    np.testing.assert_array_equal(one.idf, two.idf)
    for query in ("red boot", "sock", "lamp desk"):
        asked = np.repeat(ids([query], 3), len(titles), 0)
        joined = both(asked, [np.concatenate([titles, titles, brands], 1)], one, cross(b=0.0))
        np.testing.assert_allclose(
            both(asked, [titles, brands], two, cross(2, b=0.0, weights=(2, 1))), joined, rtol=1e-5
        )
    # Two texts that share a word saturate together: less than the sum of both scores.
    parts = [score("red", "red boot", cross(b=0.0)), score("red", "red", cross(b=0.0))]
    together = both(
        ids(["red"], 1),
        [ids(["red boot"], 2), ids(["red"], 2)],
        fit_terms([titles, np.full((6, 2), -1)]),
        cross(2, b=0.0),
    )
    assert max(part[0] for part in parts) < together[0, 0] < sum(part[0] for part in parts)


def test_measures_stand_in_the_order_asked():
    table = fit_terms([ids(TITLES, 5)])
    query, items = np.repeat(ids(["red shoe"], 3), 6, 0), ids(TITLES, 5)
    whole = both(query, [items], table, cross())
    np.testing.assert_array_equal(both(query, [items], table, cross(measures=ALL[::-1])), whole[:, ::-1])
    np.testing.assert_array_equal(both(query, [items], table, cross(measures=("coverage",))), whole[:, 2:3])


def test_a_query_meets_each_of_its_candidates():
    rng = np.random.default_rng(2)
    table = fit_terms([ids(TITLES, 5)])
    queries, items = ids(["red shoe", "", "lamp lamp of unheard"], 4), ids(TITLES, 5)[rng.integers(0, 6, (3, 7))]
    found = bm25(tf.constant(queries[:, None]), [tf.constant(items)], as_tensors(table), cross())
    in_graph = tf.function(lambda *texts: bm25(texts[0], texts[1:], as_tensors(table), cross()))
    np.testing.assert_array_equal(in_graph(tf.constant(queries[:, None]), tf.constant(items)), found)
    assert found.shape == (3, 7, 4)
    for place in range(7):
        np.testing.assert_allclose(
            found[:, place], both(queries, [items[:, place]], table, cross()), rtol=1e-5, atol=1e-6
        )


def test_the_fit_in_parts_is_the_fit_as_a_whole(monkeypatch):
    rng = np.random.default_rng(3)
    texts = [np.where(rng.random((500, 6)) < 0.3, -1, rng.integers(1, 90, (500, 6))) for _ in range(2)]
    whole = fit_terms(texts)
    monkeypatch.setattr("crossrec.components.features.crosses.bm25._ROWS", 7)
    parts = fit_terms(texts)
    for name, array in vars(whole).items():
        np.testing.assert_array_equal(getattr(parts, name), array)
    counts = Counter(term for row in np.concatenate(texts, 1) for term in set(row[row > 0].tolist()))
    assert whole.keys.tolist() == sorted(counts)
    expected = [math.log(1 + (500 - counts[key] + 0.5) / (counts[key] + 0.5)) for key in whole.keys]
    np.testing.assert_allclose(whole.idf[1:], expected, rtol=1e-5)


TEXT = {"type": "text", "hash_buckets": 5000}
FEATURES = FeaturesConfig.model_validate(
    {
        "query": {"query": {**TEXT, "max_tokens": 4, "ngrams": 2}},
        "item": {"title": {**TEXT, "max_tokens": 3, "ngrams": 2}},
    }
)


def transformed(side, name, texts):
    """Texts as the transform graph gives them."""
    raw = {name: dense_to_sparse(tf.constant(texts), "string")}
    return preprocessing_fn(FEATURES, side)(raw)[name].numpy()


def test_words_of_both_sides_meet_phrases_too_and_long_texts_are_cut():
    titles = ["Red SHOE", "shoe, red", "大红 shoe", "one two three red"]
    items = transformed("item", "title", titles)
    table, config = fit_terms([items]), BM25Cross(inputs=("query", "title"), measures=ALL)

    def ask(query):
        return both(np.repeat(transformed("query", "query", [query]), 4, 0), [items], table, config)

    phrase = ask("red shoe")
    assert phrase[:, 3].tolist() == [1, 0, 0, 0] and phrase[0, 0] > phrase[1, 0] > phrase[2, 0] > 0
    # The fourth title's "red" stands behind its third word, and so does not count.
    assert phrase[3].tolist() == [0] * 4
    assert ask("大")[:, 3].tolist() == [0, 0, 1, 0] and (ask("")[:, :] == 0).all()


@pytest.fixture(scope="module")
def fitted():
    schema = build_schema(FEATURES, {"query": 5001, "title": 5001}, ("item_id", 3), ("clicked",))
    schema = add_crosses(schema, [BM25Cross(inputs=("query", "title"))])
    items = {"title": transformed("item", "title", ["red shoe", "blue shoe", "lamp", "never"])}
    queries = transformed("query", "query", ["red", "lamp shade", "shoe", "", "red"])
    batches = [{"query": queries[:2], ITEM_ROW: np.zeros((2, 1))}, {"query": queries[2:], ITEM_ROW: np.zeros((3, 1))}]
    return schema, items, batches, fit_crosses(schema, items, lambda: batches, "clicked")


def test_the_fit_leaves_out_the_item_of_which_nothing_is_known(fitted):
    _, items, _, schema = fitted
    expected = fit_terms([items["title"][:3]])
    arrays = schema.tables.arrays["query_x_title_bm25"]
    assert {name: array.tolist() for name, array in arrays.items()} == {
        name: array.tolist() for name, array in vars(expected).items()
    }
    never = transformed("query", "query", ["never"])[0, 0]
    assert never not in arrays["keys"]


def test_the_fit_tells_terms_collisions_and_the_share_of_known_words(fitted):
    *_, schema = fitted
    cross = schema.cross("query_x_title_bm25")
    # red, shoe, blue, lamp and the phrases "red shoe" and "blue shoe"; of six words and phrases asked, "shade" and
    # "lamp shade" are unknown.
    assert cross.distinct == 6 and cross.coverage == pytest.approx(4 / 6, abs=1e-6)
    assert cross.collision_rate == pytest.approx(5 / 5000, rel=0.01)
    assert (cross.kind, cross.side, cross.width) == ("dense", "both", 3)


def test_collisions_are_estimated_from_the_ids_in_use():
    rng = np.random.default_rng(4)
    words, buckets = 800, 1000
    places = rng.integers(1, buckets + 1, words)
    schema = build_schema(FEATURES, {"query": buckets + 1, "title": buckets + 1}, ("item_id", words), ())
    schema = add_crosses(schema, [BM25Cross(inputs=("query", "title"))])
    items = {"title": np.append(places, -1)[:, None]}
    found = fit_crosses(schema, items, lambda: [], "clicked").cross("query_x_title_bm25")
    shared = np.mean([(places == place).sum() > 1 for place in places])
    assert found.distinct == pytest.approx(words, rel=0.08) and found.collision_rate == pytest.approx(shared, rel=0.1)


def test_counts_merge_and_need_no_catalogue_until_the_end(fitted):
    schema, items, batches, expected = fitted
    without = CrossFitter(schema, {}, "clicked")
    counts = [without.add(without.create(), batch) for batch in batches]
    found = CrossFitter(schema, items, "clicked").extract(without.merge(counts[::-1]))
    assert found == expected


def test_the_tables_survive_writing(fitted, tmp_path):
    *_, schema = fitted
    schema.write(str(tmp_path))
    again = type(schema).read(str(tmp_path))
    assert again == schema and TermTable(**again.tables.arrays["query_x_title_bm25"]).lengths.dtype == np.float32
