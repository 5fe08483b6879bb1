"""What stands beside the documentation joins the site: the README as its first page, the changelog,
how to contribute, and the files that pages link to."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
LINK = re.compile(r"(?<=\]\()\.\./([^)#\s]+)")
"""A link out of the documentation's folder."""
FROM_NOTEBOOK = re.compile(r'href="\.\./([\w-]+)\.md(#[^"]*)?"')
"""A notebook's link to a page, which is not made one of the site otherwise."""


def on_files(files: Files, config: Any) -> Files:
    """Add these pages and files."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text("utf-8")))
    linked = {
        link for page in (ROOT / "docs").glob("*.md") for link in LINK.findall(page.read_text())
    }
    for link in sorted(linked - PAGES.keys()):
        files.append(File.generated(config, link, abs_src_path=str(ROOT / link)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as they are from where the page stands in the site."""
    if page.file.src_uri in PAGES.values():
        markdown = re.sub(r"(?<=\]\()docs/", "", markdown)
    else:
        markdown = LINK.sub(r"\1", markdown)
    for source, target in PAGES.items():
        markdown = markdown.replace(f"]({source}", f"]({target}")
    return markdown


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Links of notebooks as they are in the site."""
    if page.file.src_uri.endswith(".ipynb"):
        html = FROM_NOTEBOOK.sub(r'href="../../\1/\2"', html)
    return html
