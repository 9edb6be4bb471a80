# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An authority of each lab's own and a certificate of each node, by its address and name; made once, kept in .lab."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from . import state
from .definitions import STATE, Lab

YEARS = 10
FOLDER = STATE / "certificates"


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=365 * YEARS))
    )


def _ready(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _write(path: Path, text: str) -> str:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    return text


def ensure(lab: Lab) -> tuple[str, dict[str, str]]:
    """The authority's certificate, and for each node its certificate and key in one text, all PEM."""
    folder = FOLDER / lab.name
    with state.lock("secrets"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        whole = _ready(folder / "ca.pem")
        if not whole:
            key = ec.generate_private_key(ec.SECP256R1())
            subject = _name(f"authority of the lab {lab.name}")
            authority = _builder(subject, subject, key).add_extension(x509.BasicConstraints(True, 0), critical=True)
            certificate = authority.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
            whole = _write(folder / "ca.pem", certificate + _pem(key))
        ca = x509.load_pem_x509_certificate(whole.encode())
        ca_key = serialization.load_pem_private_key(whole.encode(), None)
        assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
        nodes = {}
        for node in lab.nodes:
            path = folder / f"{node.name}-{node.address}.pem"
            nodes[node.name] = _ready(path)
            if not nodes[node.name]:
                key = ec.generate_private_key(ec.SECP256R1())
                names = [
                    x509.DNSName(node.name),
                    x509.DNSName("localhost"),
                    x509.IPAddress(ipaddress.ip_address(node.address)),
                    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
                ]
                made = _builder(_name(node.name), ca.subject, key)
                made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
                signed = made.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
                nodes[node.name] = _write(path, signed + _pem(key))
        return ca.public_bytes(serialization.Encoding.PEM).decode(), nodes
