"""The certificate that carries a key in TLS: a constant envelope, made at each start.

Nothing in it but the key is believed, so nothing of it is kept.
"""

from __future__ import annotations

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.x509.oid import NameOID


def certificate_of(key: Ed25519PrivateKey) -> x509.Certificate:
    """Return the public key of ``key`` in a self-signed envelope that never expires.

    9999-12-31 is what RFC 5280 sets aside for "no well-defined expiry": a wrong clock cannot
    lock anybody out.  The name is constant: strangers who connect see this certificate.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "chatnet")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(dt.datetime(1970, 1, 2))
        .not_valid_after(dt.datetime(9999, 12, 31, 23, 59, 59))
        .sign(key, None)
    )
