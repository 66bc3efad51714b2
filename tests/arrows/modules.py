#!/usr/bin/env python3
"""Layers of the modules of a crate: builds the graph of modules from the sources, prints it lowest layer first, and fails
where modules depend on each other in a circle.

    modules.py [--folders] [--known FILE] CRATE...

CRATE is a folder with src/lib.rs. One module depends on another if its code names a path into it, by `crate::`, `super::` or
`self::`, in a `use` or in place. A name that a module re-exports counts as a path to the module that it comes from, and so do names
re-exported by lib.rs. Comments, strings, visibilities (`pub(in ...)`) and what is compiled for tests only do not count.

The graph is built among the modules of the crate, and again among the children of each module that has some; the parent of
children is no node of their graph, so a type that a folder's mod.rs shares with its files is no circle.

FILE lists dependencies that close a circle and are known, one a line: `CRATE: FROM -> TO`. They do not count. A line that closes no circle
any more is a failure, so that the list only shrinks.

`--folders` also prints the layers of each module with children. Each circle is printed with the place of each path that belongs to it.
"""

import argparse
import collections
import os
import pathlib
import re
import sys

TOKEN = re.compile(
    r"""
    (?P<space>\s+|//[^\n]*)
  | (?P<comment>/\*)
  | (?P<raw>(?:b|c)?r(?P<hashes>\#*)")
  | (?P<string>(?:b|c)?"(?:[^"\\]|\\.)*")
  | (?P<char>b?'(?:[^'\\]|\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F_]+\}|.))')
  | (?P<lifetime>'[A-Za-z_]\w*)
  | (?P<word>(?:r\#)?[A-Za-z_]\w*)
  | (?P<number>\d\w*)
  | (?P<mark>::|->|=>|.)
    """,
    re.VERBOSE | re.DOTALL,
)
CLOSING = {"(": ")", "[": "]", "{": "}"}

Token = collections.namedtuple("Token", "text line")
# A path that a module names, made absolute; the place is FILE:LINE.
Path = collections.namedtuple("Path", "module target place")


def tokens(source):
    """The tokens of a source; comments are left out, literals become '""'."""
    found, at, line = [], 0, 1
    while at < len(source):
        match = TOKEN.match(source, at)
        kind, end = match.lastgroup, match.end()
        if match["raw"] is not None:
            kind, end = "string", source.index('"' + match["hashes"], end) + 1 + len(match["hashes"])
        elif kind == "comment":
            end = end_of_comment(source, at)
        if kind == "string" or kind == "char":
            found.append(Token('""', line))
        elif kind not in ("space", "comment"):
            found.append(Token(match[0].removeprefix("r#"), line))
        line += source.count("\n", at, end)
        at = end
    return found


def end_of_comment(source, at):
    """Where a block comment ends; they nest."""
    depth = 0
    for mark in re.finditer(r"/\*|\*/", source[at:]):
        depth += 1 if mark[0] == "/*" else -1
        if depth == 0:
            return at + mark.end()
    return len(source)


def past_group(code, at):
    """The index behind the bracket that closes the one at `at`."""
    depth = 0
    for index in range(at, len(code)):
        if code[index].text in CLOSING:
            depth += 1
        elif code[index].text in CLOSING.values():
            depth -= 1
            if depth == 0:
                return index + 1
    return len(code)


def past_item(code, at):
    """The index behind the item, statement, field or arm that begins at `at`."""
    while at < len(code) and code[at].text == "#":
        at = past_group(code, at + 1)
    arm = False
    while at < len(code):
        text = code[at].text
        if text in CLOSING.values():
            return at
        if text in (";", ","):
            return at + 1
        if text in CLOSING:
            at = past_group(code, at)
            # Behind the block of a `use` or of an initial value comes a semicolon; behind others nothing does.
            if text == "{" and not (at < len(code) and code[at].text in (";", ",", ".", "?", "else")):
                return at
            continue
        arm = arm or text == "=>"
        at += 1
    return at


def holds(condition):
    """Whether a cfg condition can hold in a build that is not a test; features and targets can."""
    if not condition:
        return True
    name, rest = condition[0].text, condition[1:]
    if name in ("all", "any", "not") and rest and rest[0].text == "(":
        parts = split(rest[1:-1])
        if name == "not":
            # Only what certainly holds makes the negation certainly fail, and nothing here does.
            return True
        return (all if name == "all" else any)(holds(part) for part in parts)
    return name not in ("test", "doctest")


def split(condition):
    """The parts of a condition between commas."""
    parts, depth = [[]], 0
    for token in condition:
        depth += (token.text == "(") - (token.text == ")")
        if token.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def without_tests(code):
    """The tokens of a source without attributes, and without what an attribute leaves to tests."""
    kept, at = [], 0
    while at < len(code):
        inner = code[at].text == "#" and at + 2 < len(code) and code[at + 1].text == "!"
        bracket = at + 1 + inner
        if code[at].text != "#" or bracket >= len(code) or code[bracket].text != "[":
            kept.append(code[at])
            at += 1
            continue
        end = past_group(code, bracket)
        attribute = code[bracket + 1 : end - 1]
        if attribute and attribute[0].text == "path":
            raise SystemExit(f"line {code[at].line}: #[path] is not understood")
        excluded = attribute and (
            attribute[0].text == "test"
            or attribute[0].text == "cfg" and not all(holds(part) for part in split(attribute[2:-1]))
        )
        if excluded and inner:
            return []
        at = past_item(code, end) if excluded else end
    return kept


class Crate:
    """The modules of a crate, and the paths that they name."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.name = self.folder.name
        self.modules = {()}
        self.paths = []
        # For each module what its `use` declarations bring in: name -> absolute path.
        self.aliases = collections.defaultdict(dict)
        # For each module the targets of its `use ...::*`.
        self.globs = collections.defaultdict(list)
        self.relative = []
        self.read((), self.folder / "src" / "lib.rs", self.folder / "src")
        self.resolve_relative()

    def read(self, module, file, children):
        """Reads a module from a file; its children's files are in `children`."""
        place = os.path.relpath(file, self.folder.parent)
        self.walk(module, without_tests(tokens(file.read_text())), place, children)

    def walk(self, module, code, place, children):
        """Notes what the code of a module declares and names."""
        at = 0
        while at < len(code):
            text = code[at].text
            following = code[at + 1].text if at + 1 < len(code) else ""
            before = code[at - 1].text if at else ""
            if text == "mod" and at + 2 < len(code) and code[at + 2].text in (";", "{"):
                at = self.module(module + (following,), code, at + 2, place, children)
            elif text == "use" and before != "precise" and following != "<":
                at = self.use(module, code, at + 1, place)
            elif text == "in" and before == "(" and at > 1 and code[at - 2].text == "pub":
                at = past_group(code, at - 1)
            elif text in ("crate", "super", "self") and following == "::" and before != "::":
                end = at
                names = [text]
                while end + 2 < len(code) and code[end + 1].text == "::" and re.match(r"\w", code[end + 2].text):
                    names.append(code[end + 2].text)
                    end += 2
                self.note(module, self.absolute(module, names), f"{place}:{code[at].line}")
                at = end + 1
            else:
                at += 1

    def module(self, module, code, at, place, children):
        """Reads a child module, from its file or in place."""
        self.modules.add(module)
        if code[at].text == "{":
            end = past_group(code, at)
            self.walk(module, code[at + 1 : end - 1], place, children / module[-1])
            return end
        file = children / f"{module[-1]}.rs"
        if not file.exists():
            file = children / module[-1] / "mod.rs"
        self.read(module, file, children / module[-1])
        return at + 1

    def use(self, module, code, at, place):
        """Notes the paths of a `use` declaration, and the names that it brings in."""
        end = at
        while code[end].text != ";":
            end += 1
        for names, alias, line in tree(code[at:end], []):
            if names[0] in ("crate", "super", "self"):
                target = self.absolute(module, names)
                self.note(module, target, f"{place}:{line}")
                self.bring(module, target, alias)
            else:
                self.relative.append((module, names, alias, f"{place}:{line}"))
        return end + 1

    def bring(self, module, target, alias):
        """Notes a name that a `use` brings in."""
        if alias == "*":
            self.globs[module].append(target)
        elif alias != "_":
            self.aliases[module][alias] = target

    def resolve_relative(self):
        """Paths that begin with the name of a child module are of this crate; others begin with a crate or an enum."""
        for module, names, alias, place in self.relative:
            if module + (names[0],) in self.modules:
                self.note(module, module + tuple(names), place)
                self.bring(module, module + tuple(names), alias)

    def absolute(self, module, names):
        """An absolute path of one that begins with `crate`, `super` or `self`."""
        base = () if names[0] == "crate" else module
        for index, name in enumerate(names):
            if name == "super":
                base = base[:-1]
            elif name not in ("crate", "self"):
                return base + tuple(names[index:])
        return base

    def note(self, module, target, place):
        self.paths.append(Path(module, target, place))

    def resolve(self, target, seen=()):
        """The modules that a path leads into: one, but for names that come by a glob."""
        module = ()
        for index, name in enumerate(target):
            if module + (name,) in self.modules:
                module += (name,)
                continue
            if target in seen:
                return {module}
            if name in self.aliases[module]:
                return self.resolve(self.aliases[module][name] + target[index + 1 :], (*seen, target))
            through = [self.resolve(glob, (*seen, target)) for glob in self.globs[module]]
            return {module}.union(*through) if name[:1].isupper() else {module}
        return {module}

    def graphs(self):
        """For each module with children, the graph among these: parent -> (from, to) -> places."""
        graphs = {}
        for module in self.modules:
            if module:
                graphs.setdefault(module[:-1], {})
        for path in self.paths:
            for target in self.resolve(path.target):
                common = len(os.path.commonprefix([path.module, target]))
                if common < len(path.module) and common < len(target):
                    edge = ("::".join(path.module[: common + 1]), "::".join(target[: common + 1]))
                    places = graphs[path.module[:common]].setdefault(edge, [])
                    if path.place not in places:
                        places.append(path.place)
        return graphs

    def children(self, parent):
        return sorted("::".join(module) for module in self.modules if module and module[:-1] == parent)


def tree(code, before):
    """The paths of a tree of `use`: (names, name that is brought in, line)."""
    names, at = list(before), 0
    while at < len(code):
        token = code[at]
        if token.text == "{":
            for part in parts_of_group(code[at + 1 : past_group(code, at) - 1]):
                yield from tree(part, names)
            return
        if token.text == "as":
            yield names, code[at + 1].text, token.line
            return
        if token.text == "*":
            yield names, "*", token.line
            return
        if token.text != "::":
            if not (token.text == "self" and names):
                names.append(token.text)
        at += 1
    if names:
        yield names, names[-1], code[-1].line


def parts_of_group(code):
    """The parts of a group of `use` between commas."""
    parts, depth = [[]], 0
    for token in code:
        depth += (token.text == "{") - (token.text == "}")
        if token.text == "," and depth == 0:
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def reaches(edges, start, goal):
    """The shortest way from one node to another, as a list of nodes, or nothing."""
    came, waiting = {start: None}, collections.deque([start])
    while waiting:
        node = waiting.popleft()
        if node == goal:
            way = [node]
            while came[way[-1]] is not None:
                way.append(came[way[-1]])
            return way[::-1]
        for source, target in sorted(edges):
            if source == node and target not in came:
                came[target] = node
                waiting.append(target)
    return None


def circles(edges):
    """The shortest circle through each edge that is in one; each circle once, shortest first."""
    found = {}
    for source, target in sorted(edges):
        way = reaches(edges, target, source)
        if way:
            first = way.index(min(way))
            found.setdefault(tuple(way[first:] + way[:first]))
    return sorted(found, key=lambda circle: (len(circle), circle))


def layers(nodes, edges):
    """The nodes in layers, lowest first: each depends on lower layers only. There must be no circle."""
    left, result = set(nodes), []
    while left:
        layer = sorted(node for node in left if not any(a == node and b in left for a, b in edges))
        result.append(layer)
        left.difference_update(layer)
    return result


def known_edges(file):
    """The known edges of a file: (crate, from, to) -> place."""
    known = {}
    for number, line in enumerate(pathlib.Path(file).read_text().splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        match = re.fullmatch(r"([\w-]+): ([\w:]+) -> ([\w:]+)", line)
        if not match:
            raise SystemExit(f"{file}:{number}: is not `CRATE: FROM -> TO`")
        known[match.groups()] = f"{file}:{number}"
    return known


def check(crate, known, folders):
    """Prints the layers of a crate; returns what is wrong, in lines."""
    wrong, graphs, needed = [], crate.graphs(), set()
    for parent in sorted(graphs):
        edges = graphs[parent]
        allowed = {edge for edge in edges if (crate.name, *edge) in known}
        rest = {edge: places for edge, places in edges.items() if edge not in allowed}
        needed |= {edge for edge in allowed if reaches(rest, edge[1], edge[0])}
        found = circles(rest)
        for circle in found:
            wrong.append(f"{crate.name}: circle: {' -> '.join((*circle, circle[0]))}")
            for edge in zip(circle, (*circle[1:], circle[0])):
                wrong.append(f"    {edge[0]} -> {edge[1]}: {', '.join(rest[edge])}")
        if not found and (folders or not parent):
            print(crate.name if not parent else f"{crate.name}/{'::'.join(parent)}")
            for number, layer in enumerate(layers(crate.children(parent), rest), 1):
                print(f"  {number:2}  {' '.join(name.rsplit('::')[-1] for name in layer)}")
    for (name, *edge), place in known.items():
        if name == crate.name and tuple(edge) not in needed:
            wrong.append(f"{place}: {edge[0]} -> {edge[1]} closes no circle any more: remove the line")
    return wrong


def main(arguments):
    parser = argparse.ArgumentParser(description="Prints the layers of the modules of crates; fails at a circle.")
    parser.add_argument("--folders", action="store_true", help="also print the layers within modules")
    parser.add_argument("--known", help="file of known dependencies that close a circle")
    parser.add_argument("crates", nargs="+")
    given = parser.parse_args(arguments)
    known = known_edges(given.known) if given.known else {}
    crates = [Crate(folder) for folder in given.crates]
    wrong = [
        f"{place}: no crate {name} is checked" for (name, *_), place in known.items()
        if name not in {crate.name for crate in crates}
    ]
    for crate in crates:
        wrong += check(crate, known, given.folders)
    print("\n".join(wrong), file=sys.stderr, end="\n" if wrong else "")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
