"""The files of a release, made by deploy/release from a binary that exists: the static build takes minutes. Reports in TAP.

NATSD names the program.
"""

import ctypes
import json
import os
import random
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
    for linked in ("broker-core", "tokio", "rustls", "aws-lc-sys", "mimalloc"):
        assert parts[linked]["purl"] == f"pkg:cargo/{linked}@{parts[linked]['version']}", parts[linked]
    # Of tests only.
    assert "proptest" not in parts and "async-nats" not in parts
    without = [name for name, part in parts.items() if "licenses" not in part]
    assert without == [], without


def a_binary_that_is_too_large_is_refused(_):
    with tempfile.TemporaryDirectory() as made:
        result = subprocess.run(
            [f"{TOP}/deploy/release", "--binary", NATSD, "--most", "1000", "--out", made], capture_output=True, text=True
        )
        assert result.returncode == 1 and "bytes, more than 1000" in result.stderr, result
        # Nothing that could be shipped by mistake.
        assert os.listdir(made) == [], os.listdir(made)


def memory_is_copied_and_compared_as_plain_loops_do(_):
    """Static binaries have deploy/memory.c in place of functions of the C library."""
    with tempfile.TemporaryDirectory() as made:
        library = f"{made}/memory.so"
        options = ["-O2", "-fPIC", "-ffreestanding", "-fno-tree-loop-distribute-patterns", "-Wall", "-Werror", "-shared"]
        said("cc", *options, f"{TOP}/deploy/memory.c", "-o", library)
        memory = ctypes.CDLL(library)
    draw = random.Random(1)
    compare_all(memory, draw)
    # On other processors copying is that of the C library.
    if os.uname().machine == "x86_64":
        copy_all(memory, draw)


def compare_all(memory, draw):
    for function in (memory.memcmp, memory.bcmp):
        function.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t]
    for size in [*range(70)] * 20:
        one = draw.randbytes(size)
        other = bytearray(one)
        for _ in range(draw.randrange(3) if size else 0):
            other[draw.randrange(size)] = draw.randrange(256)
        order = (one > other) - (one < other)
        answer = memory.memcmp(one, bytes(other), size)
        assert (answer > 0) - (answer < 0) == order, (one, other, answer)
        assert bool(memory.bcmp(one, bytes(other), size)) == bool(order), (one, other)


def copy_all(memory, draw):
    """Each short size, and longer ones, between places that overlap in both directions or not at all."""
    room = ctypes.create_string_buffer(12_000)
    start = ctypes.addressof(room)
    for function in (memory.memmove, memory.memcpy):
        function.restype = ctypes.c_void_p
        function.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    for size in [*range(300), *(draw.randrange(300, 5_000) for _ in range(200)), 2_047, 2_048, 2_049]:
        for distance in (0, 1, -1, 16, -16, 63, -64, size, -size, draw.randrange(-6_000, 6_000)):
            source = draw.randrange(len(room) - size)
            to = min(max(source + distance, 0), len(room) - size)
            before = draw.randbytes(len(room))
            room.raw = before
            overlaps = abs(to - source) < size
            function = memory.memmove if overlaps else draw.choice([memory.memmove, memory.memcpy])
            assert function(start + to, start + source, size) == start + to
            after = before[:to] + before[source : source + size] + before[to + size :]
            assert room.raw == after, (size, source, to)


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
                a_binary_that_is_too_large_is_refused,
                memory_is_copied_and_compared_as_plain_loops_do,
                mistakes_are_named,
            ],
            made,
        )


main()
