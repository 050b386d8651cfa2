"""The words of the marketplace: categories, brands, attributes, and the values of user columns.

Every noun belongs to one category only, so that a query's noun says what is looked for. Some words are not
ASCII on purpose: real catalogues are not either.
"""

from __future__ import annotations

from typing import NamedTuple


class Category(NamedTuple):
    """A category: its nouns (the first is the usual one), a short form that only queries use, a typical price."""

    name: str
    nouns: tuple[str, str, str, str]
    short: str
    median_price: float


CATEGORIES: tuple[Category, ...] = (
    Category("headphones", ("headphones", "headset", "earphones", "Kopfhörer"), "cans", 80.0),
    Category("laptops", ("laptop", "notebook", "ultrabook", "portátil"), "lappy", 850.0),
    Category("phones", ("smartphone", "mobile phone", "handset", "téléphone"), "mobile", 480.0),
    Category("cameras", ("camera", "camcorder", "mirrorless camera", "caméra"), "cam", 520.0),
    Category("keyboards", ("keyboard", "keypad", "typing board", "キーボード"), "keys", 65.0),
    Category("monitors", ("monitor", "display", "screen", "écran"), "lcd", 240.0),
    Category("backpacks", ("backpack", "rucksack", "daypack", "sac à dos"), "pack", 60.0),
    Category("sneakers", ("sneakers", "trainers", "running shoes", "baskets été"), "kicks", 85.0),
    Category("jackets", ("jacket", "parka", "windbreaker", "Übergangsmantel"), "jkt", 110.0),
    Category("dresses", ("dress", "gown", "sundress", "klänning"), "frock", 55.0),
    Category("watches", ("wristwatch", "chronograph", "timepiece", "zegarek na rękę"), "watch", 140.0),
    Category("sunglasses", ("sunglasses", "shades", "eyewear", "güneş gözlüğü"), "sunnies", 45.0),
    Category("lamps", ("lamp", "luminaire", "lantern", "lámpara"), "light", 40.0),
    Category("sofas", ("sofa", "couch", "settee", "canapé"), "seat", 620.0),
    Category("desks", ("desk", "writing table", "workstation", "skrivbord"), "bureau", 230.0),
    Category("cookware", ("saucepan", "skillet", "casserole", "poêle"), "pan", 38.0),
    Category("teapots", ("teapot", "tea kettle", "samovar", "théière"), "brewer", 24.0),
    Category("knives", ("kitchen knife", "cleaver", "santoku", "包丁"), "blade", 32.0),
    Category("tents", ("tent", "bivouac", "camping shelter", "палатка"), "camp", 170.0),
    Category("bicycles", ("bicycle", "road cycle", "velocipede", "vélo"), "bike", 560.0),
    Category("guitars", ("guitar", "six string", "fretboard", "guitarra acústica"), "axe", 260.0),
    Category("puzzles", ("jigsaw", "brain teaser", "puzzle", "pussel för två"), "game", 16.0),
    Category("planters", ("planter", "flower pot", "window box", "jardinière"), "tub", 20.0),
    Category("skincare", ("face cream", "moisturiser", "serum", "crème"), "lotion", 18.0),
)

_BRAND_HEADS = ("Avi", "Brel", "Cora", "Dømu", "Elun", "Faro", "Gild", "Hüri", "Isa", "Jova")
_BRAND_TAILS = ("dane", "mère", "nvik", "quist", "stel", "tano", "vora", "zeß")
BRANDS: tuple[str, ...] = tuple(head + tail for head in _BRAND_HEADS for tail in _BRAND_TAILS)

COLOURS = (
    "black", "white", "silver", "navy", "red", "green", "yellow", "orange", "purple", "pink", "brown", "grey",
    "turquoise", "ivory", "rosé", "café",
)  # fmt: skip
MATERIALS = (
    "leather", "steel", "bamboo", "cotton", "wool", "ceramic", "glass", "oak", "carbon", "linen", "aluminium",
    "copper", "recycled", "velours",
)  # fmt: skip
SIZES = ("small", "medium", "large", "compact", "oversized", "petite")
FEATURES = (
    "wireless", "waterproof", "foldable", "lightweight", "handmade", "professional", "vintage", "smart", "silent",
    "ergonomic", "insulated", "adjustable", "portable", "limited", "classic", "minimal", "heavy-duty", "quick-release",
    "décor", "naïf",
)  # fmt: skip
# One id space for all attribute words: a slot's words are a run of it.
ATTRIBUTES: tuple[str, ...] = COLOURS + MATERIALS + SIZES + FEATURES
ATTRIBUTE_SLOTS: tuple[tuple[int, int, float], ...] = (
    # first id, number of words, share of items whose title has such a word
    (0, len(COLOURS), 0.85),
    (len(COLOURS), len(MATERIALS), 0.6),
    (len(COLOURS) + len(MATERIALS), len(SIZES), 0.4),
    (len(COLOURS) + len(MATERIALS) + len(SIZES), len(FEATURES), 0.8),
)

TAGS = (
    "gift", "eco", "sale", "premium", "outdoor", "indoor", "travel", "kids", "office", "summer", "winter",
    "fair-trade", "handpicked", "refurbished", "bundle", "local", "vegan", "made-to-order", "été", "fête",
)  # fmt: skip

SEGMENTS = (
    "students", "parents", "gamers", "travellers", "homemakers", "professionals", "retirees", "athletes",
    "collectors", "bargain_hunters",
)  # fmt: skip
COUNTRIES = ("DE", "FR", "ES", "IT", "PL", "SE", "NL", "TR", "JP", "BR", "MX", "US")
DEVICES = ("phone", "desktop", "tablet", "tv")
DEVICE_SHARES = (0.45, 0.33, 0.14, 0.08)

CATEGORY_NAMES: tuple[str, ...] = tuple(category.name for category in CATEGORIES)
NOUNS_PER_CATEGORY = 4
