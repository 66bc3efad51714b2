"""Tests of modules.py on small crates that are written for each of them."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import modules


class Layers(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def crate(self, files, name="sample"):
        """Writes a crate; lib.rs declares the files at the top unless it is given."""
        top = sorted({path.split("/")[0].removesuffix(".rs") for path in files} - {"lib", "main"})
        files.setdefault("lib.rs", "")
        for path, text in files.items():
            file = self.folder / name / "src" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"mod {module};\n" for module in top) + text if path == "lib.rs" else text)
        return str(self.folder / name)

    def run_on(self, crates, known=None, folders=False):
        """The exit code, what is printed, and what is complained of."""
        arguments = ["--folders"] if folders else []
        if known is not None:
            (self.folder / "known.txt").write_text(known)
            arguments += ["--known", str(self.folder / "known.txt")]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = modules.main([*arguments, *crates])
        return code, out.getvalue(), err.getvalue()

    def edges(self, files, parent=()):
        return set(modules.Crate(self.crate(files)).graphs()[parent])

    def test_layers_are_printed_lowest_first(self):
        crate = self.crate({
            "wire.rs": "pub struct Frame;",
            "queue.rs": "use crate::wire::Frame;",
            "broker.rs": "use crate::{queue::Queue, wire};",
        })
        self.assertEqual(self.run_on([crate]), (0, "sample\n   1  wire\n   2  queue\n   3  broker\n", ""))

    def test_a_circle_fails_and_names_its_edges_with_their_places(self):
        crate = self.crate({
            "a.rs": "use crate::b::B;\n",
            "b.rs": "\n\nuse crate::c::C;\n",
            "c.rs": "fn f() {\n    super::a::f();\n}\n",
        })
        code, out, err = self.run_on([crate])
        self.assertEqual((code, out), (1, ""))
        self.assertEqual(
            err,
            "sample: circle: a -> b -> c -> a\n"
            "    a -> b: sample/src/a.rs:1\n"
            "    b -> c: sample/src/b.rs:3\n"
            "    c -> a: sample/src/c.rs:2\n",
        )

    def test_a_circle_within_a_folder_fails(self):
        crate = self.crate({
            "net/mod.rs": "mod reader;\nmod writer;\npub use reader::Reader;",
            "net/reader.rs": "use super::writer::Writer;",
            "net/writer.rs": "use crate::net::Reader;",
        })
        code, _, err = self.run_on([crate])
        self.assertEqual(code, 1)
        self.assertIn("sample: circle: net::reader -> net::writer -> net::reader\n", err)
        self.assertIn("    net::writer -> net::reader: sample/src/net/writer.rs:1\n", err)

    def test_what_a_folder_shares_with_its_files_is_no_circle(self):
        crate = self.crate({
            "net/mod.rs": "mod reader;\npub struct Shared;\nfn f() { reader::read(); }",
            "net/reader.rs": "use super::Shared;\npub fn read() {}",
        })
        self.assertEqual(self.run_on([crate], folders=True), (0, "sample\n   1  net\nsample/net\n   1  reader\n", ""))

    def test_groups_are_taken_apart(self):
        files = {
            "a.rs": "use crate::{\n    b,\n    c::{self, d::E as F},\n    g::*,\n};",
            "b.rs": "", "c.rs": "", "g.rs": "",
        }
        self.assertEqual(self.edges(files), {("a", "b"), ("a", "c"), ("a", "g")})
        places = modules.Crate(str(self.folder / "sample")).graphs()[()]
        self.assertEqual(places["a", "c"], ["sample/src/a.rs:3"])
        self.assertEqual(places["a", "g"], ["sample/src/a.rs:4"])

    def test_paths_in_place_count(self):
        files = {
            "a.rs": "fn f(x: &crate::b::B) -> Vec<crate::c::C<u8>> { debug!(x = ?crate::d::D, \"{}\", 1) }",
            "b.rs": "", "c.rs": "", "d.rs": "",
        }
        self.assertEqual(self.edges(files), {("a", "b"), ("a", "c"), ("a", "d")})

    def test_super_goes_up_from_files_folders_and_modules_in_place(self):
        files = {
            "a/mod.rs": "mod inner;\nuse super::b::B;\nmod here { use super::super::c::C; use super::inner; }",
            "a/inner.rs": "use super::super::d::D;\nmod deep { fn f() { super::super::super::e::f() } }",
            "b.rs": "", "c.rs": "", "d.rs": "", "e.rs": "",
        }
        self.assertEqual(self.edges(files), {("a", "b"), ("a", "c"), ("a", "d"), ("a", "e")})
        self.assertEqual(self.edges(files, ("a",)), {("a::here", "a::inner")})

    def test_names_that_are_exported_again_lead_to_where_they_come_from(self):
        files = {
            "lib.rs": "pub use wire::{Frame, op as operation};\npub use crate::net::Reader;",
            "a.rs": "use crate::Frame;",
            "b.rs": "use crate::Reader;",
            "c.rs": "fn f() -> crate::operation::Op {}",
            "d.rs": "use super::VERSION;",
            "wire.rs": "pub mod op {}",
            "net/mod.rs": "mod reader;\nmod writer;\npub use reader::Reader;",
            "net/reader.rs": "",
            "net/writer.rs": "use crate::Reader;",
        }
        self.assertEqual(self.edges(files), {("a", "wire"), ("b", "net"), ("c", "wire")})
        self.assertEqual(self.edges(files, ("net",)), {("net::writer", "net::reader")})

    def test_a_name_from_a_glob_leads_through_it(self):
        files = {"lib.rs": "pub use wire::*;", "a.rs": "use crate::Frame;", "wire.rs": "pub struct Frame;"}
        self.assertEqual(self.edges(files), {("a", "wire")})

    def test_comments_strings_and_visibilities_do_not_count(self):
        files = {
            "a.rs": "//! [`crate::b`]\n/// See [crate::b::B].\n/* crate::b /* crate::b */ crate::b */\n"
            "#[doc = \"crate::b\"]\npub(in crate::b) fn f<'a>(x: &'a str) -> char {\n"
            "    let s = \"\\\" crate::b\"; let r = r#\"\" crate::b \"#; let c = '\"'; let q = '\\''; let b = b\"crate::b\";\n}",
            "b.rs": "",
        }
        self.assertEqual(self.edges(files), set())

    def test_code_behind_quotes_and_lifetimes_counts(self):
        files = {"a.rs": "fn f<'a>(x: &'a str) { g('\"', '\\'', b'\"', r\"\\\"); crate::b::f() }", "b.rs": ""}
        self.assertEqual(self.edges(files), {("a", "b")})

    def test_what_is_compiled_for_tests_only_does_not_count(self):
        files = {
            "a.rs": "#[cfg(test)]\nuse crate::b::B;\n"
            "#[cfg(all(test, feature = \"x\"))]\nfn f() { crate::b::f() }\n"
            "#[test]\nfn g() { crate::b::f() }\n"
            "struct S {\n    #[cfg(test)]\n    x: crate::b::B,\n    y: crate::c::C,\n}\n"
            "fn h() {\n    #[cfg(test)]\n    let x = S { b: crate::b::B }.b;\n    crate::d::f();\n"
            "    match 1 {\n        #[cfg(test)]\n        1 => { crate::b::f() }\n        _ => crate::e::f(),\n    }\n}\n"
            "#[cfg(test)]\nmod tests {\n    use crate::b::B;\n}\n#[cfg(test)]\nmod more;\n",
            "a/more.rs": "use crate::b::B;",
            "b.rs": "", "c.rs": "", "d.rs": "", "e.rs": "",
        }
        self.assertEqual(self.edges(files), {("a", "c"), ("a", "d"), ("a", "e")})

    def test_what_features_add_counts(self):
        files = {
            "a.rs": "#[cfg(feature = \"x\")]\nuse crate::b::B;\n#[cfg(any(test, feature = \"x\"))]\nuse crate::c::C;\n"
            "#[cfg(not(test))]\nuse crate::d::D;\n#[cfg_attr(not(test), warn(clippy::x))]\nuse crate::e::E;",
            "b.rs": "", "c.rs": "", "d.rs": "", "e.rs": "",
        }
        self.assertEqual(self.edges(files), {("a", "b"), ("a", "c"), ("a", "d"), ("a", "e")})

    def test_a_known_edge_may_close_a_circle_and_is_left_out_of_the_layers(self):
        crate = self.crate({"a.rs": "use crate::b::B;", "b.rs": "use crate::a::A;"})
        known = "# Comment.\nsample: b -> a\n"
        self.assertEqual(self.run_on([crate], known), (0, "sample\n   1  b\n   2  a\n", ""))

    def test_a_known_edge_that_closes_no_circle_fails(self):
        crate = self.crate({"a.rs": "use crate::b::B;", "b.rs": ""})
        for edge in ("a -> b", "b -> a"):
            code, _, err = self.run_on([crate], f"sample: {edge}\n")
            self.assertEqual(code, 1)
            self.assertTrue(err.endswith(f"known.txt:1: {edge} closes no circle any more: remove the line\n"), err)

    def test_a_known_edge_of_a_crate_that_is_not_checked_fails(self):
        crate = self.crate({"a.rs": ""})
        code, _, err = self.run_on([crate], "other: a -> b\n")
        self.assertEqual(code, 1)
        self.assertTrue(err.endswith("known.txt:1: no crate other is checked\n"), err)

    def test_a_known_edge_does_not_excuse_another_circle(self):
        crate = self.crate({"a.rs": "use crate::b::B;", "b.rs": "use crate::a::A;\nuse crate::c::C;", "c.rs": "use crate::b::B;"})
        code, _, err = self.run_on([crate], "sample: b -> a\n")
        self.assertEqual(code, 1)
        self.assertIn("sample: circle: b -> c -> b\n", err)
        self.assertNotIn("a", err.split("\n")[0].removeprefix("sample: "))


if __name__ == "__main__":
    unittest.main()
