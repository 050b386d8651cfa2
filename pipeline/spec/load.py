"""Reading a spec from its file."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from crossrec.pipeline.spec.checks import check
from crossrec.pipeline.spec.errors import SpecError, describe
from crossrec.pipeline.spec.spec import Spec

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def load_spec(path: str | Path) -> Spec:
    """Reads and checks a spec, whole, before anything runs.

    Args:
        path: A YAML file, or the name of an example that comes with the package.

    Raises:
        SpecError: The file cannot be read, or something in it cannot work; all problems at once.
    """
    file = Path(path)
    if not file.exists() and (EXAMPLES / file / "spec.yaml").exists():
        file = EXAMPLES / file / "spec.yaml"
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), _UniqueKeys)
    except FileNotFoundError:
        known = ", ".join(sorted(entry.parent.name for entry in EXAMPLES.glob("*/spec.yaml")))
        raise SpecError(str(path), [f"there is no such file. Give a YAML file, or an example: {known}"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(str(path), [f"cannot be read ({error}). Give a readable YAML file in UTF-8"]) from error
    except yaml.YAMLError as error:
        raise SpecError(str(path), [f"is not YAML: {' '.join(str(error).split())}. Mend that line"]) from error
    return parse_spec(content, str(path))


def parse_spec(content: Any, source: str = "spec") -> Spec:
    """Checks the content of a spec; see ``load_spec``."""
    if not isinstance(content, dict):
        raise SpecError(source, [f"holds {type(content).__name__}, not keys and values. Begin with 'name:'"])
    try:
        spec = Spec.model_validate(content)
    except ValidationError as error:
        raise SpecError(source, describe(error, Spec)) from error
    problems = check(spec)
    if problems:
        raise SpecError(source, problems)
    return spec


class _UniqueKeys(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which one would be lost in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Makes a dictionary of a mapping node."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                continue  # The parent's method says so.
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)
