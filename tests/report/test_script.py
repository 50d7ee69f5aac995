"""The pages' own script in a real browser."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

import pytest

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
ROWS = "".join(f"<tr><td>name {number}</td></tr>" for number in range(12))
PAGE = (
    '<!doctype html><html><body><table class="sortable filterable"><thead><tr><th>Name</th></tr></thead>'
    f"<tbody>{ROWS}</tbody></table><script>SCRIPT</script></body></html>"
)


def test_nothing_asks_for_the_viewer_before_its_guard():
    """A page of tables has no viewer: a call on it would end the script before the tables are made sortable."""
    script = (files("fgvr.report") / "page.js").read_text()
    guarded = script.index("if (viewer) {")
    for call in ('one(".close", viewer)', "viewer.addEventListener"):
        assert script.index(call) > guarded, call


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_tables_sort_and_filter_on_a_page_without_a_viewer(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(PAGE.replace("SCRIPT", (files("fgvr.report") / "page.js").read_text()))
    with tempfile.TemporaryDirectory() as profile:
        command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        done = subprocess.run(
            [*command, "--dump-dom", Path(page).as_uri()], capture_output=True, text=True, timeout=300, check=True
        )
    assert '<button type="button">Name</button>' in done.stdout  # a column to sort by
    assert '<input type="search"' in done.stdout.replace("'", '"')
