"""Writes .dvc/plots.html, the page of `dvc plots`, with Vega in it: DVC's own loads Vega from a network.

Needs npm, and is needed again only for another version of Vega: make plots-page
"""

import subprocess
import tempfile
from pathlib import Path

VEGA = {"vega": "5.33.1", "vega-lite": "5.23.0", "vega-embed": "6.29.0"}
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>Plots</title>
<!-- DVC fills this page in (.dvc/config). Written by tools/plots_page.py; holds %(versions)s:

%(license)s-->
<style>
:root { color-scheme: light dark; }
body { max-width: 84rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif;
  color: light-dark(#1f2328, #e0e3e7); background: light-dark(#fff, #14171b); }
main { display: flex; flex-wrap: wrap; gap: 1rem; align-items: start; }
main > div { max-width: 100%%; border: 0 !important; text-align: left !important; white-space: normal !important; }
main > div > div { border: 0 !important; margin: 0 .5rem 0 0 !important; }
main > div > p { display: none; } /* the name of a picture's file; the picture has a title */
p { margin: .2rem 0; }
img, .vega-embed { border-radius: 6px; }
img { max-width: min(36rem, 100vw - 2rem); max-height: 24rem; } /* of 100%%, the box around it would stay wider */
.vega-embed { overflow-x: auto; padding: .5rem; color: #1f2328; background: #fff; color-scheme: light; }
@media (prefers-color-scheme: dark) {
  img, .vega-embed { filter: invert(.92) hue-rotate(180deg); } /* they are drawn on white */
}
</style>
%(scripts)s
<script>
const embed = vegaEmbed; // DVC's specs put the legend beside the plot, where a phone has no room
vegaEmbed = (element, spec) => embed(element, spec, {actions: false, config: {legend: {orient: "bottom"}}});
</script>
</head>
<body>
<h1>Plots</h1>
<main>
{plot_divs}
</main>
</body>
</html>
"""


def main():
    with tempfile.TemporaryDirectory() as folder:
        wanted = [f"{name}@{version}" for name, version in VEGA.items()]
        subprocess.run(
            [
                "npm",
                "install",
                "--prefix",
                folder,
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                *wanted,
            ],
            check=True,
        )
        modules = Path(folder, "node_modules")
        code = [(modules / name / "build" / f"{name}.min.js").read_text() for name in VEGA]
        text = (modules / "vega-lite" / "LICENSE").read_text()  # of all three: one laboratory's
    scripts = "\n".join(
        f"<script>\n{script.split('//# sourceMappingURL')[0]}</script>" for script in code
    )
    page = PAGE % {"versions": ", ".join(wanted), "license": text, "scripts": scripts}
    Path(__file__).resolve().parents[1].joinpath(".dvc", "plots.html").write_text(
        page, newline="\n"
    )


if __name__ == "__main__":
    main()
