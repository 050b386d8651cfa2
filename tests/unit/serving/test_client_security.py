"""Encrypted connections, certificates on both sides, and headers with tokens."""

import datetime
import ipaddress

import grpc
import pytest

from crossrec.serving.client import AccessError, ClientConfig, RecommenderClient, TlsConfig, UnavailableError
from tests.unit.serving.faulty_server import CODE, ITEMS, QUICK, Connector, FaultyServer, fail

x509 = pytest.importorskip("cryptography.x509")


class Authority:
    """Signs certificates of servers and clients."""

    def __init__(self, name):
        from cryptography.hazmat.primitives.asymmetric import ec

        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key, [x509.BasicConstraints(ca=True, path_length=None)])

    def _sign(self, subject, key, extensions):
        from cryptography.hazmat.primitives import hashes

        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    @property
    def pem(self):
        return pem_of(self.certificate)

    def issue(self, host):
        """Key and certificate for a host name or address, as PEM."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
        certificate = self._sign(subject, key, [x509.SubjectAlternativeName([name])])
        encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return key.private_bytes(encoding, form, serialization.NoEncryption()), pem_of(certificate)


def pem_of(certificate):
    from cryptography.hazmat.primitives import serialization

    return certificate.public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def ours():
    return Authority("ours")


@pytest.fixture(scope="module")
def theirs():
    return Authority("theirs")


@pytest.fixture
def serve():
    servers = []

    def serve(*credentials, **settings):
        servers.append(FaultyServer(grpc.ssl_server_credentials([credentials], **settings) if credentials else None))
        return servers[-1]

    yield serve
    for server in servers:
        server.stop()


def test_an_encrypted_connection(serve, connect, ours, theirs):
    server = serve(*ours.issue("127.0.0.1"))
    assert connect(server.target, tls=TlsConfig(ours.pem)).recommend({}).ids == ITEMS
    for wrong in (TlsConfig(theirs.pem), TlsConfig(), None):
        with pytest.raises(UnavailableError):
            connect(server.target, tls=wrong).recommend({})


def test_the_name_in_the_certificate_counts(serve, connect, ours):
    server = serve(*ours.issue("recommender.example"))
    with pytest.raises(UnavailableError):
        connect(server.target, tls=TlsConfig(ours.pem)).recommend({})
    named = TlsConfig(ours.pem, server_name="recommender.example")
    assert connect(server.target, tls=named).recommend({}).ids == ITEMS


def test_both_sides_show_certificates(serve, connect, ours, theirs, tmp_path):
    server = serve(*ours.issue("127.0.0.1"), root_certificates=ours.pem, require_client_auth=True)
    key, chain = ours.issue("client")
    for name, content in (("key.pem", key), ("chain.pem", chain), ("root.pem", ours.pem)):
        (tmp_path / name).write_bytes(content)
    files = TlsConfig(tmp_path / "root.pem", str(tmp_path / "chain.pem"), tmp_path / "key.pem")
    for good in (TlsConfig(ours.pem, chain, key), files):
        assert connect(server.target, tls=good).recommend({}).ids == ITEMS
    other_key, other_chain = theirs.issue("client")
    for bad in (TlsConfig(ours.pem), TlsConfig(ours.pem, other_chain, other_key)):
        with pytest.raises(UnavailableError):
            connect(server.target, tls=bad).recommend({})


def test_half_a_certificate_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(ValueError, match="private_key=None"):
        TlsConfig(certificate_chain=b"x")
    with pytest.raises(ValueError, match="certificate_chain=None"):
        TlsConfig(private_key=b"x")
    with pytest.raises(ValueError, match="root_certificates=.*absent.pem.*readable"):
        RecommenderClient("127.0.0.1:1", config=ClientConfig(tls=TlsConfig(tmp_path / "absent.pem")))


def test_secrets_do_not_show(ours):
    key, chain = ours.issue("client")
    shown = repr(ClientConfig(tls=TlsConfig(None, chain, key), headers={"authorization": "Bearer secret"}))
    assert "PRIVATE KEY" not in shown and "secret" not in shown


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer t"}, [("authorization", "Bearer t")]])
def test_headers_go_with_every_rpc(serve, connect, headers):
    server = serve()
    client = connect(server.target, headers=headers)
    client.recommend({})
    client.status()
    calls = [*server.predicts, *server.metadata_calls, *server.status_calls]
    assert [one.headers["authorization"] for one in calls] == ["Bearer t"] * 3


def test_a_callable_gives_a_fresh_token_for_each_attempt(serve, connect):
    server = serve()
    tokens = iter(range(100))
    client = connect(server.target, headers=lambda: {"authorization": f"Bearer {next(tokens)}"})
    client.metadata()
    server.script.append(fail(CODE.UNAVAILABLE))
    client.recommend({})
    client.recommend({})
    assert [one.headers["authorization"] for one in server.predicts] == ["Bearer 1", "Bearer 2", "Bearer 3"]


def test_an_error_of_the_callable_reaches_the_caller_and_leaks_nothing(serve, connect):
    class NoToken(Exception):
        pass

    def give():
        raise NoToken

    client = connect(serve().target, headers=give)
    with pytest.raises(NoToken):
        client.recommend({})
    assert [one.in_flight for one in client.target_status()] == [0]


def test_a_caller_that_is_not_admitted_is_told(serve, connect):
    server = serve()
    server.always = fail(CODE.UNAUTHENTICATED, "token expired")
    with pytest.raises(AccessError, match="token expired.*headers"):
        connect(server.target).recommend({})
    assert len(server.predicts) == 1


def test_a_coroutine_function_gives_headers(serve):
    import asyncio

    async def token():
        await asyncio.sleep(0.01)
        return {"authorization": "Bearer async"}

    server = serve()
    with Connector("async") as connect:
        connect(server.target, headers=token).recommend({})
        assert server.predicts[0].headers["authorization"] == "Bearer async"

        async def never():
            await asyncio.sleep(60)

        with pytest.raises(Exception, match="headers' callable took the attempt's whole time"):
            connect(server.target, headers=never, retry=QUICK).recommend({}, deadline_seconds=1.0)
