"""What a model takes and gives, read from GetModelMetadata."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional

from crossrec.serving.client.errors import ContractError
from crossrec.serving.contract import names
from crossrec.serving.contract.messages import SignatureDefMap
from crossrec.serving.contract.tensors import dtype_name

# Signatures that TensorFlow adds for its own use; they have no inputs.
_INTERNAL_PREFIX = "__saved_model"


@dataclass(frozen=True)
class InputSpec:
    """One input or output of a signature.

    Attributes:
        name: Its name in the signature.
        dtype: numpy's name, or "string".
        shape: Sizes, None where open; None as a whole where even the rank is.
    """

    name: str
    dtype: str
    shape: Optional[tuple[Optional[int], ...]]

    @property
    def multi_valued(self) -> bool:
        """Whether a request gives a list of values: [B, K] and not [B]."""
        return self.shape is not None and len(self.shape) == 2

    @property
    def width(self) -> Optional[int]:
        """Fixed number of values of a multi-valued input; None where it is open."""
        return self.shape[1] if self.shape is not None and self.multi_valued else None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.name}: {self.dtype}"
        sizes = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name}: {self.dtype} [{sizes}]"


@dataclass(frozen=True)
class SignatureSpec:
    """Inputs and outputs of a signature, each by name and sorted by it."""

    inputs: Mapping[str, InputSpec]
    outputs: Mapping[str, InputSpec]

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the query inputs: all but the item lists that the contract adds."""
        return tuple(name for name in self.inputs if name not in (names.EXCLUDE_ITEMS, names.CANDIDATE_ITEMS))


@dataclass(frozen=True)
class ModelMetadata:
    """A version's signatures.

    Attributes:
        model_name: Name of the model.
        version: Version that was asked.
        signatures: Signature by key, TensorFlow's internal ones left out.
    """

    model_name: str
    version: int
    signatures: Mapping[str, SignatureSpec]

    def signature_key(self, name: str) -> str:
        """Find the key under which a signature of the contract is served.

        Args:
            name: One of `names.SIGNATURES`.

        Returns:
            The name itself, or the default key for `recommend`.

        Raises:
            ContractError: The model has no such signature.
        """
        if name in self.signatures:
            return name
        if name == names.RECOMMEND and names.DEFAULT_SIGNATURE in self.signatures:
            return names.DEFAULT_SIGNATURE
        raise ContractError(
            f"model {self.model_name!r} version {self.version} has no signature {name!r}, "
            f"only {', '.join(self.signatures) or 'none'}",
            "Ask for a model that was exported as a bundle",
        )


def parse_metadata(response: Any) -> ModelMetadata:
    """Read the answer of GetModelMetadata.

    Args:
        response: GetModelMetadataResponse that holds the field ``signature_def``.

    Returns:
        The signatures.
    """
    signatures = SignatureDefMap.FromString(response.metadata[names.SIGNATURE_DEF_FIELD].value)
    return ModelMetadata(
        model_name=response.model_spec.name,
        version=response.model_spec.version.value,
        signatures={
            key: SignatureSpec(_specs(signature.inputs), _specs(signature.outputs))
            for key, signature in sorted(signatures.signature_def.items())
            if not key.startswith(_INTERNAL_PREFIX)
        },
    )


def _specs(tensors: Any) -> dict[str, InputSpec]:
    return {name: InputSpec(name, dtype_name(info.dtype), _shape(info)) for name, info in sorted(tensors.items())}


def _shape(info: Any) -> Optional[tuple[Optional[int], ...]]:
    if info.tensor_shape.unknown_rank:
        return None
    return tuple(None if dim.size < 0 else dim.size for dim in info.tensor_shape.dim)
