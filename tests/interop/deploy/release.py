"""The files of a release, made by deploy/release from a binary that exists: the static build takes minutes. Reports in TAP.

NATSD names the program.
"""

import json
import os
import subprocess
import sys
import tempfile

from report import run

NATSD = os.environ["NATSD"]
TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")


def said(*command, **options):
    return subprocess.run(command, check=True, capture_output=True, text=True, **options).stdout


def the_checksum_is_that_of_the_binary(made):
    (name,) = [name for name in os.listdir(made) if name.endswith(".sha256")]
    said("sha256sum", "--check", "--strict", name, cwd=made)
    binary = name.removesuffix(".sha256")
    assert said(f"{made}/{binary}", "--version") == said(NATSD, "--version")
    assert ".debug_line" not in said("readelf", "--sections", "--wide", f"{made}/{binary}")


def completions_and_the_manual_page_are_there(made):
    for shell in ("bash", "fish", "zsh"):
        with open(f"{made}/natsd.{shell}", encoding="utf-8") as file:
            assert "store_dir" in file.read(), shell
    said("bash", "-n", f"{made}/natsd.bash")
    with open(f"{made}/natsd.1", encoding="utf-8") as file:
        assert file.read().startswith((".TH", ".ie", ".\\\""))


def the_bill_of_materials_lists_what_is_linked(made):
    with open(f"{made}/natsd.cdx.json", encoding="utf-8") as file:
        bom = json.load(file)
    assert bom["bomFormat"] == "CycloneDX" and bom["metadata"]["component"]["name"] == "natsd", bom["metadata"]
    parts = {part["name"]: part for part in bom["components"]}
    for linked in ("broker-core", "tokio", "rustls", "aws-lc-sys"):
        assert parts[linked]["purl"] == f"pkg:cargo/{linked}@{parts[linked]['version']}", parts[linked]
    # Of tests only.
    assert "proptest" not in parts and "async-nats" not in parts
    without = [name for name, part in parts.items() if "licenses" not in part]
    assert without == [], without


def mistakes_are_named(_):
    for arguments, error in ((["--arch", "m68k"], "no architecture m68k"), (["--nonsense", "x"], "no option --nonsense")):
        result = subprocess.run([f"{TOP}/deploy/release", *arguments], capture_output=True, text=True)
        assert result.returncode == 1 and error in result.stderr, result


def main():
    with tempfile.TemporaryDirectory() as made:
        subprocess.run([f"{TOP}/deploy/release", "--binary", NATSD, "--out", made], check=True, stdout=sys.stderr)
        run(
            [
                the_checksum_is_that_of_the_binary,
                completions_and_the_manual_page_are_there,
                the_bill_of_materials_lists_what_is_linked,
                mistakes_are_named,
            ],
            made,
        )


main()
