"""TLS and mutual TLS from the file that ``--ssl_config_file`` names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc

from crossrec.serving.local_server.statuses import invalid_argument
from crossrec.serving.local_server.text_configs import SSLConfig, read_text_config


def server_credentials(path: Path) -> Any:
    """Read an SSLConfig.

    Args:
        path: Text file with ``server_key``, ``server_cert``, ``custom_ca`` (PEM each) and ``client_verify``,
            which asks every client for a certificate that `custom_ca` has signed.

    Returns:
        grpc.ServerCredentials.

    Raises:
        StatusError: The file cannot be read or a field that is needed is empty.
    """
    config = read_text_config(path, SSLConfig)
    needed = ["server_key", "server_cert"] + (["custom_ca"] if config.client_verify else [])
    for name in needed:
        if not getattr(config, name):
            raise invalid_argument(f"{path}: {name} is empty; give the PEM text itself, not the name of a file")
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        root_certificates=config.custom_ca.encode() or None,
        require_client_auth=config.client_verify,
    )
