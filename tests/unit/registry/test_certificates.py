"""TLS contexts from files: what they trust and show, and which file is named when one is broken."""

import ssl
from pathlib import Path

import pytest
import trustme

from pier.errors import Invalid
from pier.registry.certificates import Tls, context, read_folder


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    cert = trustme.CA().issue_cert("me.example.com")
    cert.cert_chain_pems[0].write_to_path(tmp_path / "me.cert")
    cert.private_key_pem.write_to_path(tmp_path / "me.key")
    return tmp_path / "me.cert", tmp_path / "me.key"


def test_without_files_the_systems_authorities_count() -> None:
    made = context(Tls())
    assert made.verify_mode == ssl.CERT_REQUIRED and made.check_hostname


def test_where_nothing_is_verified_the_systems_authorities_are_not_read() -> None:
    made = context(Tls(False))
    assert (made.verify_mode, made.check_hostname, made.get_ca_certs()) == (ssl.CERT_NONE, False, [])
    assert made.minimum_version == ssl.TLSVersion.TLSv1_2


def test_an_authority_is_trusted_beside_them(tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "ca.crt")
    assert len(context(Tls(ca=(tmp_path / "ca.crt",))).get_ca_certs()) == len(ssl.create_default_context().get_ca_certs()) + 1


def test_a_client_certificate_is_loaded(pair: tuple[Path, Path]) -> None:
    assert context(Tls(False, client=(pair,))).verify_mode == ssl.CERT_NONE


def test_a_context_is_made_anew_when_a_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "ca.crt"
    trustme.CA().cert_pem.write_to_path(path)
    first = context(Tls(ca=(path,)))
    assert context(Tls(ca=(path,))) is first
    path.unlink()
    trustme.CA().cert_pem.write_to_path(path)
    assert context(Tls(ca=(path,))) is not first


@pytest.mark.parametrize("content", [b"", b"no certificate", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_broken_authority_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ca.crt").write_bytes(content)
    with pytest.raises(Invalid, match=f"{tmp_path}/ca.crt: no certificate of an authority"):
        context(Tls(ca=(tmp_path / "ca.crt",)))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"ca\.crt: No such file or directory"):
        context(Tls(ca=(tmp_path / "ca.crt",)))


def test_a_key_of_another_certificate_is_named(pair: tuple[Path, Path], tmp_path: Path) -> None:
    trustme.CA().issue_cert("other").private_key_pem.write_to_path(tmp_path / "other.key")
    with pytest.raises(Invalid, match=r"me\.cert: with the key .*other\.key it is no certificate of a client: key values mismatch"):
        context(Tls(client=((pair[0], tmp_path / "other.key"),)))


def test_an_encrypted_key_asks_nobody(pair: tuple[Path, Path], tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as s

    key = s.load_pem_private_key(pair[1].read_bytes(), None)
    pair[1].write_bytes(key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.BestAvailableEncryption(b"secret")))
    with pytest.raises(Invalid, match=r"me\.key: the key is encrypted"):
        context(Tls(client=(pair,)))


def test_a_folder_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name in ("b.crt", "a.crt", "z.cert", "z.key", "crt", ".crt"):
        (tmp_path / name).touch()
    assert read_folder(tmp_path) == Tls(
        ca=(tmp_path / ".crt", tmp_path / "a.crt", tmp_path / "b.crt"), client=((tmp_path / "z.cert", tmp_path / "z.key"),)
    )
    assert read_folder(tmp_path / "nowhere") == Tls() == read_folder(tmp_path / "a.crt")
