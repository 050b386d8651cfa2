"""A shop of two languages: queries in one, titles in the other, and clicks that say which mean the same."""

import random

from crossrec.components.text.config import TextEncoderConfig
from crossrec.components.text_encoder.config import EncoderUse, TextEncodersConfig

COLOURS = {"red": "rouge", "blue": "bleu", "green": "vert", "black": "noir", "white": "blanc", "grey": "gris"}
THINGS = {"table": "bureau", "cup": "tasse", "shoe": "botte", "lamp": "lustre", "knife": "couteau", "hat": "chapeau"}
TITLES = [f"{colour} {thing} {n}" for colour in COLOURS.values() for thing in THINGS.values() for n in range(2)]
ITEMS = [{"item_id": f"i{n}", "title": title} for n, title in enumerate(TITLES)]
SMALL = {"width": 16, "heads": 2, "vocabulary_size": 400}


def query_of(title):
    """What someone types who means that title."""
    words = {foreign: word for words in (COLOURS, THINGS) for word, foreign in words.items()}
    colour, thing, _ = title.split(" ")
    return f"{words[colour]} {words[thing]}"


def make_rows(seed, count, start=1_600_000_000):
    """Interactions with the words of the clicked title, in the other language."""
    rng = random.Random(seed)
    rows = []
    for n in range(count):
        item = rng.choice(ITEMS)
        rows.append(
            {
                "user_id": f"u{rng.randrange(20)}",
                "item": item["item_id"],
                "timestamp": start + n // 2,
                "clicked": float(rng.random() < 0.7),
                "query": query_of(item["title"]),
            }
        )
    return rows


def use(query=("query",), item=("title",), **encoder):
    """A small encoder of some columns."""
    config = TextEncoderConfig.model_validate({"small": SMALL, "dimension": 16, **encoder})
    return EncoderUse(encoder=config, field="features.query.query.encoder", query=query, item=item)


def config_of(*uses):
    """The step's configuration."""
    return TextEncodersConfig(
        uses=uses,
        label="clicked",
        item_column="item_id",
        interaction_item_column="item",
        user_column="user_id",
        timestamp_column="timestamp",
    )
