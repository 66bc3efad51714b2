"""Generates valid and invalid certificates."""

import datetime
import ipaddress
import os
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)

CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH
MAIL = ExtendedKeyUsageOID.EMAIL_PROTECTION
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE


def p256():
    return ec.generate_private_key(ec.SECP256R1())


KEYS = {
    "P-256": p256,
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
    "RSA-1024": lambda: rsa.generate_private_key(65537, 1024),
}


def attribute(kind, value):
    return x509.NameAttribute(getattr(NameOID, kind), value)


def name(*rdns):
    """A name of RDNs, each (kind, value) or a list of them."""
    sets = [rdn if isinstance(rdn, list) else [rdn] for rdn in rdns]
    return x509.Name(
        [x509.RelativeDistinguishedName([attribute(*one) for one in rdn]) for rdn in sets]
    )


def common_name(value):
    return name(("COMMON_NAME", value))


def mail(value):
    return x509.RFC822Name(value)


def host(value):
    return x509.DNSName(value)


def uri(value):
    return x509.UniformResourceIdentifier(value)


def address(value):
    return x509.IPAddress(ipaddress.ip_address(value))


def network(value):
    return x509.IPAddress(ipaddress.ip_network(value))


class Identity:
    """A certificate, its key, and its intermediates."""

    def __init__(self, certificate, key, chain=()):
        self.certificate = certificate
        self.key = key
        self.chain = list(chain)

    def shown_with(self, *others):
        return Identity(self.certificate, self.key, [other.certificate for other in others])

    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self):
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    def fingerprint(self):
        """The fingerprint of the public key, as in pinned_certs."""
        spki = self.key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        digest = hashes.Hash(hashes.SHA256())
        digest.update(spki)
        return digest.finalize().hex()

    def write(self, path):
        """A client's chain and key in one file."""
        chain = [one.public_bytes(serialization.Encoding.PEM) for one in self.chain]
        with open(path, "wb") as file:
            file.write(b"".join([self.pem(), *chain, self.key_pem()]))
        return path


class Authority(Identity):
    """Signs certificates; self-signed unless another authority is given."""

    def __init__(self, title, issuer=None, path_length=None, days=(-1, 30), is_authority=True, may_sign=True, extra=()):
        key = p256()
        subject = common_name(title)
        extensions = [
            (x509.BasicConstraints(ca=is_authority, path_length=path_length), True),
            (key_usage(key_cert_sign=is_authority and may_sign, crl_sign=is_authority, digital_signature=True), True),
            *extra,
        ]
        signer = issuer or self
        builder = build(
            subject, key.public_key(), issuer.subject if issuer else subject, days, extensions
        )
        self.subject = subject
        self.key = key
        super().__init__(builder.sign(signer.key, hashes.SHA256()), key)

    def sign(self, subject=None, sans=(), usages=(CLIENT,), days=(-1, 30), key=None, serial=None, extra=()):
        """A certificate of which only the name matters."""
        key = key or p256()
        extensions = [(x509.BasicConstraints(ca=False, path_length=None), True), *extra]
        if usages:
            extensions.append((x509.ExtendedKeyUsage(usages), False))
        if sans:
            # RFC 5280: critical where there is no subject.
            is_critical = subject is not None and not subject.rdns
            extensions.append((x509.SubjectAlternativeName(sans), is_critical))
        if subject is None:
            subject = common_name("client")
        builder = build(subject, key.public_key(), self.subject, days, extensions, serial)
        return Identity(builder.sign(self.key, hashes.SHA256()), key)

    def sign_by_command(self, folder, *arguments):
        """Certificates that libraries no longer generate: old versions, old signatures."""
        path = lambda file: os.path.join(folder, file)
        key = p256()
        with open(path("ca.pem"), "wb") as file:
            file.write(self.pem())
        for file, of in (("ca.key", self.key), ("client.key", key)):
            with open(path(file), "wb") as file:
                file.write(Identity(None, of).key_pem())
        run("openssl", "req", "-new", "-key", path("client.key"), "-subj", "/CN=client", "-out", path("csr"))
        run(
            "openssl", "x509", "-req", "-in", path("csr"), "-CA", path("ca.pem"), "-CAkey", path("ca.key"),
            "-CAcreateserial", "-days", "30", "-out", path("client.pem"), *arguments,
        )  # fmt: skip
        with open(path("client.pem"), "rb") as file:
            return Identity(x509.load_pem_x509_certificate(file.read()), key)

    def revoke(self, *identities, days=(-1, 30)):
        """A revocation list in PEM."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.subject)
            .last_update(NOW + days[0] * DAY)
            .next_update(NOW + days[1] * DAY)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
            )
        )
        for identity in identities:
            revoked = x509.RevokedCertificateBuilder()
            revoked = revoked.serial_number(identity.certificate.serial_number)
            builder = builder.add_revoked_certificate(revoked.revocation_date(NOW - DAY).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def key_usage(**those):
    kinds = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    ).split()
    return x509.KeyUsage(**{kind: those.get(kind, False) for kind in kinds})


def crl_at(address):
    """The extension with the address of a revocation list."""
    point = x509.DistributionPoint(
        full_name=[uri(address)], relative_name=None, reasons=None, crl_issuer=None
    )
    return x509.CRLDistributionPoints([point])


def build(subject, public_key, issuer, days, extensions, serial=None):
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(NOW + days[0] * DAY)
        .not_valid_after(NOW + days[1] * DAY)
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return builder


def signed_by_itself(subject, usages=(CLIENT,)):
    key = p256()
    extensions = [(x509.ExtendedKeyUsage(usages), False)]
    builder = build(subject, key.public_key(), subject, (-1, 30), extensions)
    return Identity(builder.sign(key, hashes.SHA256()), key)


def signed_by(issuer):
    """The extensions of a certificate that is not an authority."""
    key = p256()
    certificate = issuer.certificate
    extensions = [(x509.ExtendedKeyUsage([CLIENT]), False)]
    builder = build(common_name("client"), key.public_key(), certificate.subject, (-1, 30), extensions)
    return Identity(builder.sign(issuer.key, hashes.SHA256()), key)


def run(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
