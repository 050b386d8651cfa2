"""The examples in docstrings run, and say what comes out."""

import doctest
import importlib
import pkgutil

import pytest

import crossrec.components
import crossrec.pipeline
import crossrec.serving

PACKAGES = (crossrec.components, crossrec.pipeline, crossrec.serving)


def modules():
    for package in PACKAGES:
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not info.name.endswith("__main__"):
                yield info.name


def has_examples(name):
    with open(importlib.util.find_spec(name).origin, encoding="utf-8") as file:
        return ">>>" in file.read()


WITH_EXAMPLES = [name for name in modules() if has_examples(name)]


def test_there_are_examples():
    assert len(WITH_EXAMPLES) > 5


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted and not result.failed
