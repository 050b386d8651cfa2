"""What the client has learned of the versions that its targets serve."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from crossrec.serving.client.config import Choice
from crossrec.serving.client.encoding import SignatureEncoder
from crossrec.serving.client.schema import ModelMetadata
from crossrec.serving.contract import messages

_MAX_VERSIONS = 16
_MAX_PREFIXES = 64


class Known:
    """A version's signatures, and the encoders made from them.

    Args:
        metadata: What the server said.
    """

    def __init__(self, metadata: ModelMetadata) -> None:
        self.metadata = metadata
        self._encoders: dict[str, SignatureEncoder] = {}
        self._prefixes: dict[tuple[str, Choice], bytes] = {}

    def same_inputs(self, other: "Known") -> bool:
        """Tell whether a request for the other's signatures is one for these, too."""
        return self is other or self.metadata.signatures == other.metadata.signatures

    def encode(self, model_name: str, choice: Choice, signature: str, rows: Sequence[Mapping[str, Any]]) -> bytes:
        """Write a PredictRequest.

        Args:
            model_name: Model to ask.
            choice: Version to ask.
            signature: One of `names.SIGNATURES`.
            rows: Value by input name of each request.

        Returns:
            The message's bytes.

        Raises:
            RequestError: A request does not fit the signature.
            ContractError: The model has no such signature, or one that is not of the contract.
        """
        encoder = self._encoders.get(signature)
        if encoder is None:
            encoder = SignatureEncoder(self.metadata.signatures[self.metadata.signature_key(signature)])
            self._encoders[signature] = encoder
        prefix = self._prefixes.get((signature, choice))
        if prefix is None:
            request = messages.PredictRequest()
            choice.fill(request.model_spec, model_name)
            request.model_spec.signature_name = self.metadata.signature_key(signature)
            prefix = request.SerializeToString()
            if len(self._prefixes) < _MAX_PREFIXES:
                self._prefixes[signature, choice] = prefix
        return prefix + encoder.encode(rows)


class Knowledge:
    """What each target serves under each choice. During a roll-out the targets of one client may differ."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[int, Known] = {}
        self._current: dict[tuple[str, Choice], Known] = {}

    def get(self, address: str, choice: Choice) -> Optional[Known]:
        """Return what a target serves; None where that is to be learned.

        Args:
            address: The target's address.
            choice: Version that is asked.
        """
        return self._current.get((address, choice))

    def learned(self, address: str, choice: Choice, metadata: ModelMetadata) -> Known:
        """Note what a target said.

        Args:
            address: The target's address.
            choice: Version that was asked.
            metadata: The answer.

        Returns:
            The same with its encoders.
        """
        with self._lock:
            known = self._versions.get(metadata.version)
            if known is None or known.metadata != metadata:
                known = Known(metadata)
                self._remember(metadata.version, known)
            self._current[address, choice] = known
            return known

    def answered(self, address: str, choice: Choice, version: int) -> None:
        """Note which version gave an answer: where it is another one, what it takes is looked up or learned anew.

        Args:
            address: The target's address.
            choice: Version that was asked.
            version: Version that answered; 0 where the server named none.
        """
        known = self._current.get((address, choice))
        if known is None or not version or known.metadata.version == version:
            return
        with self._lock:
            other = self._versions.get(version)
            if other is None:
                self._current.pop((address, choice), None)
            else:
                self._current[address, choice] = other

    def _remember(self, version: int, known: Known) -> None:
        self._versions.pop(version, None)
        self._versions[version] = known
        while len(self._versions) > _MAX_VERSIONS:
            del self._versions[next(iter(self._versions))]
