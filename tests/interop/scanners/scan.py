"""Scans natsd's TLS with sslscan and testssl.sh, which must report no issue. Reports in TAP.

NATSD names the program, SCANNERS the folder that holds the unpacked packages.
"""

import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

HERE = os.path.dirname(__file__)
sys.path += [os.path.join(HERE, "..", "certificates"), os.path.join(HERE, "..", "monitor")]
from authority import SERVER, Authority, address, common_name, crl_at, host  # noqa: E402
from servers import Server  # noqa: E402

NATSD, SCANNERS = os.environ["NATSD"], os.environ["SCANNERS"]

# At least twice the time of any scan, even on a busy machine.
DEADLINE = 200

VERSIONS = {"2": False, "3": False, "1.0": False, "1.1": False, "1.2": True, "1.3": True}

CIPHERS = {
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
}

# testssl.sh: protocols, kinds of ciphers, forward secrecy, server defaults; then the
# vulnerabilities. Each with a finding that must be present, so that an aborted scan fails.
SCANS = {
    "testssl.sh: protocols and certificate": (
        ["-p", "-s", "-f", "-S"],
        "SSLv2 SSLv3 TLS1 TLS1_1 TLS1_2 TLS1_3 cipherlist_NULL cipherlist_aNULL cipherlist_EXPORT cipherlist_LOW "
        "cipherlist_3DES_IDEA cipherlist_AVERAGE cipherlist_STRONG PFS cert_signatureAlgorithm cert_keySize "
        "cert_trust cert_chain_of_trust cert_expirationStatus",
    ),
    "testssl.sh: attacks": (
        ["-U"],
        "heartbleed CCS ROBOT secure_renego secure_client_renego CRIME_TLS POODLE_SSL fallback_SCSV SWEET32 FREAK "
        "DROWN LOGJAM BEAST LUCKY13 RC4",
    ),
}

HARMLESS = {"OK", "INFO", "DEBUG"}
# The local OpenSSL lacks the Russian GOST ciphers. testssl.sh keeps a session without waiting for the ticket, which TLS
# 1.3 sends after the handshake: on a busy machine it has none to resume (broker-net's tests resume sessions).
NOT_OURS = {
    ("engine_problem", "WARN"),
    ("sessionresumption_ticket", "WARN"),
    ("sessionresumption_ID", "WARN"),
}


def sslscan(server, folder):
    out = os.path.join(folder, "sslscan.xml")
    run([os.path.join(SCANNERS, "usr/bin/sslscan"), "--no-colour", f"--xml={out}", server.address])
    found = xml.etree.ElementTree.parse(out).getroot().find("ssltest")
    wrong = []
    offered = {one.get("version"): one.get("enabled") == "1" for one in found.iter("protocol")}
    if offered != VERSIONS:
        wrong.append(f"protocols {offered}")
    ciphers = {one.get("cipher") for one in found.iter("cipher")}
    if ciphers != CIPHERS:
        wrong.append(f"ciphers {sorted(ciphers ^ CIPHERS)}")
    if found.find("renegotiation").get("supported") != "0":
        wrong.append("renegotiation")
    bleeding = [one.get("sslversion") for one in found.iter("heartbleed") if one.get("vulnerable") != "0"]
    if bleeding or found.find("heartbleed") is None:
        wrong.append(f"heartbleed {bleeding}")
    for kind in ("self-signed", "expired"):
        if {one.text for one in found.iter(kind)} != {"false"}:
            wrong.append(f"certificate {kind}")
    return wrong


def testssl(server, folder, options, ids):
    out = os.path.join(folder, f"testssl{''.join(options)}.json")
    # testssl.sh insists on a DNS tool, though there is no name to look up.
    bin_folder = os.path.join(folder, f"bin{''.join(options)}")
    os.mkdir(bin_folder)
    with open(os.path.join(bin_folder, "host"), "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\nexit 1\n")
    os.chmod(file.name, 0o755)
    environment = os.environ | {
        "PATH": f"{os.environ['PATH']}:{bin_folder}",
        "TESTSSL_INSTALL_DIR": os.path.join(SCANNERS, "etc/testssl"),
    }
    command = ["bash", os.path.join(SCANNERS, "usr/bin/testssl"), "--quiet", "--color", "0", "--warnings", "off"]
    command += ["--nodns", "none", "--add-ca", os.path.join(folder, "root.pem"), "--jsonfile", out, *options]
    said = run([*command, server.address], environment)
    if not os.path.exists(out):
        return ["no findings: " + " ".join(said.split())]
    with open(out, encoding="utf-8") as file:
        findings = json.load(file)
    wrong = [
        f"{one['severity']} {one['id']}: {one['finding']}"
        for one in findings
        if one["severity"] not in HARMLESS and (one["id"], one["severity"]) not in NOT_OURS
    ]
    missing = set(ids.split()) - {one["id"] for one in findings}
    return wrong + ([f"not looked at: {' '.join(sorted(missing))}"] if missing else [])


def run(command, environment=None):
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=DEADLINE, env=environment
    )
    return done.stdout + done.stderr


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = lambda file: os.path.join(folder, file)
        root = Authority("root")
        sans = [host("localhost"), address("127.0.0.1")]
        # Scanners criticize certificates without revocation information, and those that expire
        # within a month or two.
        nowhere = [(crl_at("http://localhost/list"), False)]
        shown = root.sign(common_name("server"), sans, [SERVER], days=(-1, 90), extra=nowhere)
        for file, content in (("root.pem", root.pem()), ("cert.pem", shown.pem()), ("key.pem", shown.key_pem())):
            with open(path(file), "wb") as out:
                out.write(content)
        files = f"cert_file: {path('cert.pem')!r}, key_file: {path('key.pem')!r}"
        server = Server(
            NATSD,
            f"host: 127.0.0.1, port: -1, http: '127.0.0.1:-1', tls {{ {files}, handshake_first: true }}\n",
        )
        scans = {"sslscan": lambda: sslscan(server, folder)}
        for name, (options, ids) in SCANS.items():
            scans[name] = lambda options=options, ids=ids: testssl(server, folder, options, ids)
        print(f"1..{len(scans)}", flush=True)
        failed = False
        with concurrent.futures.ThreadPoolExecutor() as pool:
            running = {name: pool.submit(scan) for name, scan in scans.items()}
            for name, scan in running.items():
                wrong = scan.result()
                failed |= bool(wrong)
                print(f"{'not ok' if wrong else 'ok'} {name}: {'; '.join(wrong) or 'no finding'}", flush=True)
        server.stop()
    return failed


if __name__ == "__main__":
    sys.exit(main())
