"""TLS and mutual TLS from an SSLConfig, with certificates made here."""

import datetime
import ipaddress

import grpc
import numpy as np
import pytest

from crossrec.serving.local_server.statuses import StatusError
from crossrec.serving.local_server.tls import server_credentials
from tests.unit.serving.make_models import copy_version
from tests.unit.serving.serve_here import PATIENCE, Caller, RunningServer, serve_here

X = {"x": np.array([1.0], np.float32)}


class Authority:
    """A certificate authority; `issue` gives a key and a certificate as PEM."""

    def __init__(self, name):
        pytest.importorskip("cryptography")
        self._key, self._name = self._new_key(), self._subject(name)
        self.certificate = self._sign(self._key, self._name, authority=True)

    def issue(self, name):
        from cryptography.hazmat.primitives import serialization as s

        key = self._new_key()
        private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
        return private, self._sign(key, self._subject(name), authority=False)

    def _new_key(self):
        from cryptography.hazmat.primitives.asymmetric import ec

        return ec.generate_private_key(ec.SECP256R1())

    def _subject(self, name):
        from cryptography import x509

        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    def _sign(self, key, subject, authority):
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization

        now = datetime.datetime.now(datetime.timezone.utc)
        hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture(scope="module")
def authority():
    return Authority("crossrec tests")


@pytest.fixture
def base_path(adder_path, tmp_path):
    path = tmp_path / "m"
    path.mkdir()
    copy_version(adder_path / "2", path, "2")
    return path


def write_config(path, key, certificate, authority=b"", verify=False):
    """Write an SSLConfig as its users do: with the PEM texts' line breaks inside the quotes."""
    path.write_text(
        f'server_key: "{key.decode()}"\nserver_cert: "{certificate.decode()}"\n# it\'s a comment with a quote\n'
        f'custom_ca: "{authority.decode()}"\nclient_verify: {str(verify).lower()}\n'
    )
    return path


def secure_caller(server, **credentials):
    server.caller()
    caller = Caller(server.target)
    caller.channel = grpc.secure_channel(server.target, grpc.ssl_channel_credentials(**credentials))
    return caller


def unavailable(caller):
    with pytest.raises(grpc.RpcError) as caught:
        caller.predict(X)
    return caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_tls(base_path, authority, tmp_path):
    file = write_config(tmp_path / "ssl.config", *authority.issue("server"))
    with serve_here(base_path, ssl_config_file=file) as server:
        assert secure_caller(server, root_certificates=authority.certificate).outputs(X)["y"].tolist() == [3.0]
        assert unavailable(secure_caller(server, root_certificates=Authority("other").certificate))
        assert unavailable(server.caller()), "without TLS there is no answer"


def test_mutual_tls(base_path, authority, tmp_path):
    file = write_config(tmp_path / "ssl.config", *authority.issue("server"), authority.certificate, True)
    with serve_here(base_path, ssl_config_file=file) as server:
        key, certificate = authority.issue("client")
        known = {"root_certificates": authority.certificate, "private_key": key, "certificate_chain": certificate}
        assert secure_caller(server, **known).outputs(X)["y"].tolist() == [3.0]
        assert unavailable(secure_caller(server, root_certificates=authority.certificate))
        key, certificate = Authority("other").issue("client")
        assert unavailable(secure_caller(server, **{**known, "private_key": key, "certificate_chain": certificate}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "server_key is empty"),
        ('server_key: "k" server_cert: "c" client_verify: true', "custom_ca is empty"),
        ("server_key", "Invalid protobuf file"),
        (None, "No such file or directory"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, text, message):
    file = tmp_path / "ssl.config"
    if text is not None:
        file.write_text(text)
    with pytest.raises(StatusError, match=message) as caught:
        server_credentials(file)
    assert str(file) in caught.value.message


def test_a_wrong_file_ends_the_server(base_path, tmp_path, capfd):
    server = RunningServer(base_path, ssl_config_file=tmp_path / "none")
    assert server.ready.wait(PATIENCE)
    assert server.exit_code == 255
    assert "Failed to start server. Error: NOT_FOUND: " in capfd.readouterr().err
