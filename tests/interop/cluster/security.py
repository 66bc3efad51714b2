"""Who may become a route: passwords, TLS and certificates."""

import asyncio
import datetime
import ipaddress
import os
import tempfile

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from formation import everybody_reaches_everybody
from nodes import Cluster, until
from party import Party
from scenarios import scenario


def _login(text):
    return f"authorization {{ {text}, timeout: 2 }}"


def _routes(cluster, login):
    return [node.route.replace("://", f"://{login}@") for node in cluster]


@scenario
async def routes_log_in_with_a_password(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start(
            cluster=_login("user: ruser, password: T0pS3cr3t"), routes=_routes(cluster, "ruser:T0pS3cr3t")
        )
        await everybody_reaches_everybody(cluster)


@scenario
async def a_wrong_password_of_a_route_is_refused(kinds):
    async with Cluster(kinds) as cluster:
        one, two, three = cluster
        own = _login("user: ruser, password: T0pS3cr3t")
        for node, login in ((one, None), (two, "ruser:T0pS3cr3t"), (three, "ruser:wr0ng")):
            routes = _routes([one], login) if login else []
            node.configure(cluster.text(node, cluster=own, routes=routes))
            await node.start()
        await one.has_peers(two)
        await one.says("authentication error")
        assert await three.routes() == []
        for node in cluster:
            assert not any("T0pS3cr3t" in line or "wr0ng" in line for line in node.log), node


class Authority:
    """Issues certificates for servers of one machine, into a folder."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(self.key.public_key(), name, is_authority=True)
        self.file = os.path.join(folder, f"{name}.pem")
        with open(self.file, "wb") as file:
            file.write(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _sign(self, key, name, is_authority=False):
        now = datetime.datetime.now(datetime.timezone.utc)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        builder = (
            x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        )
        if not is_authority:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def block(self, name, trusted=None, more="verify: true"):
        """The `tls` block of a server with its own certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = os.path.join(self.folder, f"{self.name}-{name}.pem")
        secret = os.path.join(self.folder, f"{self.name}-{name}-key.pem")
        with open(certificate, "wb") as file:
            file.write(self._sign(key.public_key(), name).public_bytes(serialization.Encoding.PEM))
        with open(secret, "wb") as file:
            file.write(key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        trusted = (trusted or self).file
        return f"""tls {{ cert_file: "{certificate}", key_file: "{secret}", ca_file: "{trusted}", timeout: 5, {more} }}"""


@scenario
async def routes_use_mutual_tls(kinds):
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder, "ca")
        async with Cluster(kinds) as cluster:
            await cluster.start(cluster=lambda node: authority.block(node.name))
            await everybody_reaches_everybody(cluster)
            for node in cluster:
                # TLS begins with the first byte, in both directions.
                _, party = await asyncio.get_running_loop().create_connection(Party, node.host, node.route_port)
                party.send('CONNECT {"verbose":false}\r\nPING\r\n')
                await until("it is cut", lambda party=party: party.closed)
                assert party.infos == [], party.infos


@scenario
async def routes_verify_certificates_whatever_the_file_says(kinds):
    # NATS requires and verifies certificates of both ends of a route, without `verify` as well.
    with tempfile.TemporaryDirectory() as folder:
        right, wrong = Authority(folder, "right"), Authority(folder, "wrong")
        async with Cluster(kinds) as cluster:
            one, two, three = cluster
            blocks = {"a": right.block("a", more=""), "b": right.block("b", more=""),
                      "c": wrong.block("c", trusted=right, more="")}
            for node in cluster:
                node.configure(cluster.text(node, routes=[] if node is one else [one], cluster=blocks[node.name]))
                await node.start()
            await one.has_peers(two)
            await one.says("TLS", "error")
            assert await three.routes() == []


@scenario
async def a_server_without_tls_is_no_member_of_a_cluster_with_it(kinds):
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder, "ca")
        async with Cluster(kinds) as cluster:
            one, two, three = cluster
            for node in cluster:
                block = "" if node is three else authority.block(node.name)
                node.configure(cluster.text(node, routes=[] if node is one else [one], cluster=block))
                await node.start()
            await one.has_peers(two)
            await one.says("TLS", "error")
            assert await three.routes() == []


@scenario
async def clients_with_tls_reach_all_over_routes_with_tls(kinds):
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(folder, "ca")
        async with Cluster(kinds) as cluster:
            own = _login("user: r, password: s")
            await cluster.start(
                cluster=lambda node: authority.block(node.name) + "\n" + own, routes=_routes(cluster, "r:s")
            )
            await everybody_reaches_everybody(cluster)


@scenario
async def strangers_at_the_port_of_routes_are_cut(kinds):
    async with Cluster(kinds) as cluster:
        await cluster.start()
        node = cluster[0]
        for text in ("GET / HTTP/1.1\r\n\r\n", "NONSENSE\r\n", "CONNECT {\r\n", "RMSG\r\n"):
            party = await Party.open(node, port=node.route_port)
            party.send(text)
            await until(f"{text!r} is cut", lambda party=party: party.closed)
        await everybody_reaches_everybody(cluster)
