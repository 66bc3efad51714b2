"""Presents valid and invalid client certificates to natsd and to nats-server with the same configuration,
over TLS 1.2 and 1.3: the verdicts must be equal, and as stated here. differences.txt lists the exceptions
with reasons; these must differ, and natsd must be the stricter one. Reports in TAP.

NATSD and REFERENCE name the programs.
"""

import json
import os
import ssl
import sys
import tempfile

from authority import (
    ANY,
    CLIENT,
    KEYS,
    MAIL,
    SERVER,
    Authority,
    address,
    common_name,
    host,
    key_usage,
    mail,
    name,
    network,
    p256,
    signed_by,
    signed_by_itself,
    uri,
)
from cryptography import x509

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "monitor"))
from servers import DEADLINE, Server  # noqa: E402

NATSD, REFERENCE = os.environ["NATSD"], os.environ["REFERENCE"]

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

# The handshake failed; it succeeded and authentication failed; the client was accepted without a
# user name.
REFUSED, UNAUTHORIZED, IN = "refused", "unauthorized", "let in"

USERS = [
    "mail@acme.test",
    "second@acme.test",
    "host.acme.test",
    "urn:acme:x",
    "spiffe://acme.test/a",
    "*.acme.test",
    "127.0.0.1",
    "CN=client",
    "CN=other",
    "CN=x,OU=ops,O=acme",
    "O=first,CN=y",
    "CN=both+OU=ops,O=acme",
    "CN=twice,DC=acme,DC=test",
    "CN=a\\\\,b,O=acme",
    "CN=mail,emailAddress=m@acme.test",
    "UID=7,CN=uid",
    "CN=ünï",
]


class World:
    """The authorities, and the files that both servers use."""

    def __init__(self, folder):
        self.folder = folder
        self.root = Authority("root")
        self.other = Authority("other")
        self.same_name = Authority("root")
        self.middle = Authority("middle", self.root, path_length=0)
        self.below = Authority("below", self.middle)
        self.middles = {
            "has expired": Authority("middle", self.root, days=(-30, -1)),
            "is not valid yet": Authority("middle", self.root, days=(1, 30)),
            "is for servers": Authority("middle", self.root, extra=[(usages(SERVER), False)]),
            "is for anything": Authority("middle", self.root, extra=[(usages(ANY), False)]),
            "is for clients": Authority("middle", self.root, extra=[(usages(CLIENT), False)]),
            "may not sign": Authority("middle", self.root, may_sign=False),
            "is no authority": Authority("middle", self.root, is_authority=False),
            "has something critical that nobody knows": Authority(
                "middle", self.root, extra=[unknown_extension(True)]
            ),
            "is of nobody": Authority("middle", self.same_name),
        }
        self.itself = signed_by_itself(common_name("itself"))
        self.roots = {
            "has expired": Authority("ended", days=(-30, -1)),
            "is not valid yet": Authority("early", days=(1, 30)),
            "is for servers": Authority("servers", extra=[(usages(SERVER), False)]),
            "is for anything": Authority("anything", extra=[(usages(ANY), False)]),
            "is for clients": Authority("clients", extra=[(usages(CLIENT), False)]),
            "may not sign": Authority("dumb", may_sign=False),
            "is no authority": Authority("none", is_authority=False),
            "has something critical that nobody knows": Authority("odd", extra=[unknown_extension(True)]),
            "allows no intermediates": Authority("short", path_length=0),
        }
        self.narrow = {
            "is for acme.test": Authority("narrow root", extra=[(constraints(host("acme.test")), True)]),
            "is for mail of acme.test": Authority("mail root", extra=[(constraints(mail("acme.test")), True)]),
            "is for URIs of acme.test": Authority("uri root", extra=[(constraints(uri("acme.test")), True)]),
            "is for addresses": Authority(
                "address root", extra=[(constraints(network("127.0.0.0/8")), True)]
            ),
        }
        self.roots |= self.narrow
        self.pinned = self.root.sign()
        self.impostor = self.other.sign(key=self.pinned.key)
        self.revoked = self.root.sign()
        server = self.root.sign(common_name("server"), [host("localhost"), address("127.0.0.1")], [SERVER])
        self.file("server.pem", server.pem())
        self.file("server.key", server.key_pem())
        believed = (self.root, self.other, self.itself, *self.roots.values())
        self.file("ca.pem", b"".join(one.pem() for one in believed))
        self.file("lists.pem", self.root.revoke(self.revoked))
        self.file("root.pem", self.root.pem())

    def path(self, file):
        return os.path.join(self.folder, file)

    def file(self, file, content):
        with open(self.path(file), "wb") as out:
            out.write(content)

    def configuration(self, kind, is_ours):
        """The configuration of a server; `is_ours`: it is natsd."""
        users = [f'{{user: "{user}"}}' for user in USERS]
        users.append('{user: "CN=locked", password: pw}')
        users = f"authorization {{ users: [{', '.join(users)}] }}\n"
        pins = f"pinned_certs: ['{self.pinned.fingerprint()}', '{'00' * 32}']"
        # nats-server has no such option.
        lists = f"crl_files: [{self.path('lists.pem')!r}]" if is_ours else ""
        tls, rest = {
            "verify": ("verify: true", ""),
            "users": ("verify: true", "authorization { users: [{user: CN=client, password: pw}, {user: b, password: pw}] }\n"),
            "map": ("verify_and_map: true", users),
            "pinned": (f"verify: true, {pins}", ""),
            "pinned map": (f"verify_and_map: true, {pins}", users),
            "revoked": (f"verify: true, ca_file: {self.path('root.pem')!r}, {lists}", ""),
        }[kind]
        if "ca_file" not in tls:
            tls += f", ca_file: {self.path('ca.pem')!r}"
        return (
            "host: 127.0.0.1, port: -1, http: '127.0.0.1:-1'\n"
            f"tls {{ cert_file: {self.path('server.pem')!r}, key_file: {self.path('server.key')!r}, {tls} }}\n"
            + rest
        )


def constraints(of):
    return x509.NameConstraints(permitted_subtrees=[of], excluded_subtrees=None)


def usages(*those):
    return x509.ExtendedKeyUsage(those)


def unknown_extension(is_critical):
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
    return (extension, is_critical)


def cases(world):
    """Configuration, presented certificate, CONNECT of the client, and expected verdict."""
    root = world.root
    sign = root.sign

    yield "verify", "a good certificate", sign(), {}, IN
    yield "verify", "none", None, {}, REFUSED
    yield "verify", "has expired", sign(days=(-30, -1)), {}, REFUSED
    yield "verify", "is not valid yet", sign(days=(1, 30)), {}, REFUSED
    yield "verify", "of another authority that is believed", world.other.sign(), {}, IN
    yield "verify", "of an authority that is not believed", world.below.sign(), {}, REFUSED
    yield "verify", "of an impostor by the authority's name", world.same_name.sign(), {}, REFUSED
    yield "verify", "signed by itself", signed_by_itself(common_name("client")), {}, REFUSED
    yield "verify", "signed by itself and believed", world.itself, {}, IN
    yield "verify", "for servers", sign(usages=[SERVER]), {}, REFUSED
    yield "verify", "for mail", sign(usages=[MAIL]), {}, REFUSED
    yield "verify", "for anything, said so", sign(usages=[ANY]), {}, IN
    yield "verify", "for anything, unsaid", sign(usages=[]), {}, IN
    yield "verify", "for clients and servers", sign(usages=[SERVER, CLIENT]), {}, IN
    for kind, key in KEYS.items():
        yield "verify", f"with a key of {kind}", sign(key=key()), {}, IN
    yield "verify", "with a key that may not sign", sign(extra=[(key_usage(key_agreement=True), True)]), {}, IN
    yield "verify", "with something critical that nobody knows", sign(extra=[unknown_extension(True)]), {}, REFUSED
    yield "verify", "with something that nobody knows", sign(extra=[unknown_extension(False)]), {}, IN
    yield "verify", "of an authority itself", world.middle, {}, IN
    with tempfile.TemporaryDirectory() as folder:
        old = root.sign_by_command(folder)
        assert old.certificate.version == x509.Version.v1
        yield "verify", "of version 1", old, {}, IN
        yield "verify", "signed with SHA-1", root.sign_by_command(folder, "-sha1"), {}, REFUSED

    middle = world.middle
    yield "verify", "with its intermediate", middle.sign().shown_with(middle), {}, IN
    yield "verify", "without its intermediate", middle.sign(), {}, REFUSED
    yield "verify", "with its intermediate and the root", middle.sign().shown_with(middle, root), {}, IN
    yield "verify", "with what does not belong to it", sign().shown_with(world.other, middle), {}, IN
    yield (
        "verify", "of more intermediates than may be", world.below.sign().shown_with(world.below, middle), {},
        REFUSED,
    )  # fmt: skip
    good = {"is for anything", "is for clients"}
    for what, middle_one in world.middles.items():
        shown = middle_one.sign().shown_with(middle_one)
        yield "verify", f"of an intermediate that {what}", shown, {}, IN if what in good else REFUSED
    for what, one in world.roots.items():
        is_good = what in good or what == "allows no intermediates" or what in world.narrow
        yield "verify", f"of an authority that {what}", one.sign(), {}, IN if is_good else REFUSED
    between = Authority("between", world.roots["allows no intermediates"])
    shown = between.sign().shown_with(between)
    yield "verify", "of an intermediate where none is allowed", shown, {}, REFUSED
    yield "verify", "of a client that is believed", signed_by(world.itself), {}, REFUSED
    for what, inside, outside in (
        ("is for acme.test", host("a.acme.test"), host("a.other.test")),
        ("is for mail of acme.test", mail("a@acme.test"), mail("a@other.test")),
        ("is for URIs of acme.test", uri("spiffe://acme.test/a"), uri("spiffe://other.test/a")),
        ("is for addresses", address("127.0.0.1"), address("10.0.0.1")),
    ):
        for sans, verdict in (([inside], IN), ([outside], REFUSED), ([inside, outside], REFUSED)):
            about = " and ".join(str(san.value) for san in sans)
            one = world.narrow[what].sign(sans=sans)
            yield "verify", f"of an authority that {what}: {about}", one, {}, verdict

    yield "users", "no password", sign(), {}, UNAUTHORIZED
    yield "users", "a password", sign(), {"user": "b", "pass": "pw"}, "b"
    yield "users", "a wrong password", sign(), {"user": "CN=client", "pass": "no"}, UNAUTHORIZED
    yield "users", "a password and no certificate", None, {"user": "b", "pass": "pw"}, REFUSED

    def named(case, verdict, *sans, subject=None, **connect):
        return "map", case, sign(subject, sans), connect, verdict

    yield named("mail", "mail@acme.test", mail("mail@acme.test"))
    yield named("mail in other letters", "CN=client", mail("MAIL@acme.test"))
    yield named("host", "host.acme.test", host("host.acme.test"))
    yield named("host in other letters", "CN=client", host("HOST.acme.test"))
    yield named("uri", "urn:acme:x", uri("urn:acme:x"))
    yield named("uri with a host", "spiffe://acme.test/a", uri("spiffe://acme.test/a"))
    yield named("address", "CN=client", address("127.0.0.1"))
    yield named("address as a host", "127.0.0.1", host("127.0.0.1"))
    yield named("wildcard", "*.acme.test", host("*.acme.test"))
    yield named("wildcard that holds a user", UNAUTHORIZED, host("*.test"), subject=common_name("nobody"))
    yield named("the second mail", "second@acme.test", mail("nobody@acme.test"), mail("second@acme.test"))
    yield named("two mails that are users", "second@acme.test", mail("second@acme.test"), mail("mail@acme.test"))
    yield named(
        "mail before host before uri",
        "mail@acme.test",
        uri("urn:acme:x"),
        host("host.acme.test"),
        mail("mail@acme.test"),
    )
    yield named("host before subject", "host.acme.test", host("host.acme.test"), subject=common_name("other"))
    yield named("subject where no other name is a user", "CN=other", host("no"), subject=common_name("other"))
    yield named("empty subject", UNAUTHORIZED, subject=name())
    yield named("empty subject and mail", "mail@acme.test", mail("mail@acme.test"), subject=name())
    yield named("somebody else", UNAUTHORIZED, subject=common_name("nobody"))
    c, o, ou, dc = "COMMON_NAME", "ORGANIZATION_NAME", "ORGANIZATIONAL_UNIT_NAME", "DOMAIN_COMPONENT"

    def subject(case, verdict, *rdns):
        return named(f"subject {case}", verdict, subject=name(*rdns))

    long = [(o, "acme"), (ou, "ops"), (c, "x")]
    yield subject("of three parts", "CN=x,OU=ops,O=acme", *long)
    yield subject("of three parts the other way round", "CN=x,OU=ops,O=acme", *reversed(long))
    yield subject("of three parts in another order", "CN=x,OU=ops,O=acme", long[1], long[0], long[2])
    yield subject("written the other way round", "O=first,CN=y", (o, "first"), (c, "y"))
    yield subject("that is part of a user's", UNAUTHORIZED, (ou, "ops"), (c, "x"))
    yield subject("that has a user's as part", UNAUTHORIZED, (o, "acme"), (c, "client"))
    yield subject("in other letters", UNAUTHORIZED, (c, "CLIENT"))
    yield subject("with blanks around", UNAUTHORIZED, (c, " client "))
    yield subject("that spells a longer one", UNAUTHORIZED, (c, "x,OU=ops,O=acme"))
    yield subject("that spells one of several values", UNAUTHORIZED, (o, "acme"), (c, "both+OU=ops"))
    yield subject("of several values", "CN=both+OU=ops,O=acme", (o, "acme"), [(c, "both"), (ou, "ops")])
    yield subject("of several values in parts", UNAUTHORIZED, (o, "acme"), (ou, "ops"), (c, "both"))
    yield subject("of parts in several values", "CN=x,OU=ops,O=acme", (o, "acme"), [(ou, "ops"), (c, "x")])
    yield subject("of one value of several", UNAUTHORIZED, [(c, "client"), (ou, "ops")])
    yield subject("with domain components", "CN=twice,DC=acme,DC=test", (dc, "test"), (dc, "acme"), (c, "twice"))
    yield subject("with domain components mixed up", "CN=twice,DC=acme,DC=test", (dc, "acme"), (dc, "test"), (c, "twice"))
    yield subject("with a comma", "CN=a\\,b,O=acme", (o, "acme"), (c, "a,b"))
    yield subject("with mail", UNAUTHORIZED, ("EMAIL_ADDRESS", "m@acme.test"), (c, "mail"))
    yield subject("with a number of a user", UNAUTHORIZED, (c, "uid"), ("USER_ID", "7"))
    yield subject("beyond ASCII", "CN=ünï", (c, "ünï"))

    yield "map", "has expired, named", sign(days=(-30, -1)), {}, REFUSED
    yield "map", "none, with a password", None, {"user": "CN=other", "pass": "pw"}, REFUSED
    yield named("who says to be somebody else", "CN=client", user="CN=other")
    yield named("who says to be somebody else, by password", UNAUTHORIZED, user="CN=other", **{"pass": "pw"})
    yield named(
        "nobody who says to be somebody", UNAUTHORIZED, subject=common_name("no"), user="CN=other", **{"pass": "pw"}
    )

    locked = common_name("locked")
    yield named("a user with a password", UNAUTHORIZED, subject=locked)
    yield named("a user with a password, and it", "CN=locked", subject=locked, **{"pass": "pw"})
    yield named("a user with a password, and another", UNAUTHORIZED, subject=locked, **{"pass": "no"})

    pinned = world.pinned
    yield "pinned", "the pinned key", pinned, {}, IN
    yield "pinned", "another key", sign(), {}, REFUSED
    yield "pinned", "the pinned key in another certificate", sign(key=pinned.key), {}, IN
    yield "pinned", "the pinned key of another authority that is believed", world.impostor, {}, IN
    yield "pinned", "the pinned key of nobody", world.same_name.sign(key=pinned.key), {}, REFUSED
    yield "pinned", "the pinned key, expired", sign(key=pinned.key, days=(-30, -1)), {}, REFUSED
    yield "pinned", "no key", None, {}, REFUSED
    yield "pinned", "the pinned key above another", middle.sign(key=p256()).shown_with(middle, pinned), {}, REFUSED
    yield "pinned map", "the pinned key, named", pinned, {}, "CN=client"
    yield "pinned map", "another key, named", sign(), {}, REFUSED

    yield "revoked", "not revoked", sign(), {}, IN
    yield "revoked", "revoked", world.revoked, {}, IN


def verdict(server, context, connect):
    """Returns the verdict on a client."""
    import socket

    where, port = server.address.rsplit(":", 1)
    with socket.create_connection((where, int(port)), DEADLINE) as plain:
        info = b""
        while not info.endswith(b"\r\n"):
            info += plain.recv(1)
        cid = json.loads(info.split(b" ", 1)[1])["client_id"]
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                options = {"verbose": False, "pedantic": False, **connect}
                tls.sendall(f"CONNECT {json.dumps(options)}\r\nPING\r\n".encode())
                said = b""
                # In TLS 1.3 the handshake completes for the client before the server verifies its
                # certificate.
                while not said.endswith(b"\r\n"):
                    more = tls.recv(4096)
                    if not more:
                        return REFUSED
                    said += more
                if b"-ERR 'Authorization Violation'" in said:
                    return UNAUTHORIZED
                if b"PONG" not in said:
                    return f"unexpected: {said!r}"
                shown = server.json(f"/connz?cid={cid}&auth=1")["connections"][0]
                return shown.get("authorized_user", IN)
        except (ssl.SSLError, ConnectionError):
            return REFUSED


def context(world, version, identity):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = made.maximum_version = VERSIONS[version]
    made.load_verify_locations(world.path("root.pem"))
    # Permits weak certificates, so that the server can refuse them.
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    if identity:
        made.load_cert_chain(identity.write(world.path("client.pem")))
    return made


def read_differences():
    path = os.path.join(os.path.dirname(__file__), "differences.txt")
    found = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                case, _, verdicts = line.strip().partition(" = ")
                natsd, _, why = verdicts.partition(": ")
                found[case] = (natsd, why)
    return found


def main():
    differences = read_differences()
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        everything = [(*case, version) for case in cases(world) for version in VERSIONS]
        print(f"1..{len(everything) + 1}", flush=True)
        failed = False
        servers = {}
        for kind in dict.fromkeys(case[0] for case in everything):
            servers[kind] = [
                Server(program, world.configuration(kind, program == NATSD)) for program in (REFERENCE, NATSD)
            ]
        unused = set(differences)
        for kind, title, identity, connect, expected, version in everything:
            shown = context(world, version, identity)
            theirs, ours = (verdict(server, shown, connect) for server in servers[kind])
            case = f"{kind}: {title}"
            unused.discard(case)
            wanted, why = differences.get(case, (expected, ""))
            wrong = []
            if theirs != expected:
                wrong.append(f"nats-server: {theirs}, and not {expected}")
            if ours != wanted:
                wrong.append(f"natsd: {ours}, and not {wanted}")
            if wanted == expected and why:
                wrong.append("no difference, but differences.txt names it")
            if ours != theirs and ours not in (REFUSED, UNAUTHORIZED):
                wrong.append("a wrong accept")
            if ours != theirs and not why:
                wrong.append(f"differences.txt does not name it: natsd: {ours}, nats-server: {theirs}")
            failed |= bool(wrong)
            line = f"{case} (TLS {version}): " + ("; ".join(wrong) or ours)
            print(f"{'not ok' if wrong else 'ok'} {line}{f', because {why}' if why else ''}", flush=True)
        for pair in servers.values():
            for server in pair:
                server.stop()
        failed |= bool(unused)
        left = f": not {', '.join(sorted(unused))}" if unused else ""
        print(f"{'not ok' if unused else 'ok'} differences.txt lists existing cases only{left}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
