"""The documents as a site: each document is in it, each link leads somewhere, and pages load nothing from other hosts. Reports in TAP.

MDBOOK names mdBook.
"""

import glob
import html.parser
import os
import subprocess
import sys
import tempfile
import urllib.parse

from report import run

TOP = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../.."))
REPOSITORY = "https://github.com/natsd/natsd/blob/main/"


class Page(html.parser.HTMLParser):
    """Links, what the page loads, and the places in it."""

    def __init__(self, path):
        super().__init__()
        self.links, self.loads, self.places = [], [], set()
        with open(path, encoding="utf-8") as file:
            self.feed(file.read())

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.places.add(given.get("id"))
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        for name in ("src", "href"):
            if tag != "a" and given.get(name):
                self.loads.append(given[name])


class Site:
    """The built site."""

    def __init__(self, folder):
        subprocess.run([f"{TOP}/docs/build", folder], check=True, stdout=sys.stderr)
        self.folder = folder
        # print.html has all pages, 404.html is for a server.
        names = [os.path.basename(name) for name in glob.glob(f"{folder}/*.html")]
        self.pages = {name: Page(f"{folder}/{name}") for name in names if name not in ("print.html", "404.html", "toc.html")}


def each_document_is_a_page(site):
    documents = {os.path.basename(name).removesuffix(".md") for name in glob.glob(f"{TOP}/docs/*.md")} - {"SUMMARY"}
    assert documents | {"index"} == {name.removesuffix(".html") for name in site.pages}, documents


def pages_load_nothing_from_other_hosts(site):
    for name, page in site.pages.items():
        assert page.loads, name
        for path in page.loads:
            assert "//" not in path and os.path.exists(os.path.join(site.folder, path.split("?")[0])), f"{name} loads {path}"


def each_link_leads_somewhere(site):
    dead = []
    for name, page in site.pages.items():
        for link in page.links:
            path, _, place = urllib.parse.unquote(link).partition("#")
            if link.startswith(REPOSITORY):
                good = os.path.exists(os.path.join(TOP, path.removeprefix(REPOSITORY)))
            elif "//" in link:
                good = True
            elif not path or path in site.pages:
                good = not place or place in site.pages[path or name].places
            else:
                good = os.path.exists(os.path.join(site.folder, path))
            if not good:
                dead.append(f"{name}: {link}")
    assert dead == [], dead


def main():
    with tempfile.TemporaryDirectory() as folder:
        run([each_document_is_a_page, pages_load_nothing_from_other_hosts, each_link_leads_somewhere], Site(folder))


main()
