"""Options and credentials of a channel, the same for both clients."""

import os
from collections.abc import Iterable, Mapping
from typing import Any, Optional

import grpc

from crossrec.serving.client.config import ClientConfig, Headers, KeepAliveConfig, PemSource, TlsConfig


def channel_options(keep_alive: KeepAliveConfig, tls: Optional[TlsConfig]) -> list[tuple[str, Any]]:
    """Choose the options of a channel.

    Args:
        keep_alive: Pings.
        tls: Certificates, or None.

    Returns:
        Names and values as gRPC takes them.
    """
    options: list[tuple[str, Any]] = [
        # Lists of candidates with their texts pass gRPC's default of 4 MB.
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        # gRPC waits up to two minutes before it looks again for a server that went away.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        ("grpc.min_reconnect_backoff_ms", 5_000),
        # A name with several addresses, such as a headless Kubernetes Service, is spread over all of them.
        ("grpc.lb_policy_name", "round_robin"),
        # Connections of the client's own: another client's failed ones do not delay it.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.keepalive_time_ms", int(keep_alive.interval_seconds * 1e3)),
        ("grpc.keepalive_timeout_ms", int(keep_alive.timeout_seconds * 1e3)),
        ("grpc.keepalive_permit_without_calls", int(keep_alive.idle)),
        # A ping that measures bandwidth keeps the others back until it is answered or, by default, a minute is over.
        ("grpc.http2.ping_timeout_ms", int(keep_alive.timeout_seconds * 1e3)),
        # The interval decides, not a count of pings since the last data.
        ("grpc.http2.max_pings_without_data", 0),
    ]
    if tls is not None and tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return options


def credentials(config: ClientConfig) -> Optional[grpc.ChannelCredentials]:
    """Read the certificates.

    Args:
        config: The client's configuration.

    Returns:
        Credentials; None for a connection without encryption.

    Raises:
        ValueError: A file cannot be read.
    """
    tls = config.tls
    if tls is None:
        return None
    return grpc.ssl_channel_credentials(
        root_certificates=_pem("root_certificates", tls.root_certificates),
        private_key=_pem("private_key", tls.private_key),
        certificate_chain=_pem("certificate_chain", tls.certificate_chain),
    )


def _pem(field: str, source: Optional[PemSource]) -> Optional[bytes]:
    if source is None or isinstance(source, bytes):
        return source
    try:
        with open(os.fspath(source), "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(
            f"TlsConfig.{field}={os.fspath(source)!r}: {error.strerror}. Give a readable PEM file"
        ) from error


def header_list(headers: Headers, more: Iterable[Iterable[tuple[str, str]]]) -> list[tuple[str, str]]:
    """Bring headers into gRPC's form.

    Args:
        headers: Mapping or pairs.
        more: Pairs of the hooks.

    Returns:
        Pairs, names in lower case as gRPC demands.
    """
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    for one in more:
        pairs.extend(one)
    return [(name.lower(), value) for name, value in pairs]
