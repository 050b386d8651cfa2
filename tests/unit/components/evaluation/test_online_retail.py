"""The baselines reproduce the figures published for Online Retail, digit by digit."""

import os

import pytest

from tests.benchmarks import online_retail_data as online_retail


@pytest.fixture(scope="module")
def path():
    if not os.environ.get("CROSSREC_DATA"):
        pytest.skip("CROSSREC_DATA is not set")
    try:
        return online_retail.find_data()
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def purchases(path):
    return online_retail.load_purchases(path)


@pytest.fixture(scope="module")
def protocol(purchases):
    return online_retail.build_protocol(purchases)


def test_cleaning_leaves_products_that_someone_bought_and_paid(purchases):
    assert len(purchases) == 396_337
    assert purchases["StockCode"].str.match(r"\d{5}").all()
    assert (purchases["Quantity"] > 0).all() and (purchases["UnitPrice"] > 0).all()
    assert not purchases["InvoiceNo"].str.startswith("C").any()


def test_relevant_items_are_new_and_known_to_training(protocol):
    assert len(protocol.customers) == 1287
    assert (protocol.relevant.lengths > 0).all()
    bought = protocol.history.toarray() > 0
    assert not bought[protocol.relevant.row_of_item, protocol.relevant.items].any()
    assert (protocol.train.sum(axis=0) > 0).all()


def test_published_figures_are_reproduced(protocol):
    published = {
        "popularity": (0.0373, 0.0397, 0.3675),
        "itemcf": (0.0709, 0.0716, 0.4654),
        "ease": (0.1060, 0.1049, 0.6099),
    }
    measured = online_retail.measure(protocol, online_retail.recommend_baselines(protocol))
    for name, figures in published.items():
        found = [measured[name][metric].mean() for metric in ("recall@20", "ndcg@20", "hit_rate@20")]
        assert found == pytest.approx(figures, abs=0.00006), name
