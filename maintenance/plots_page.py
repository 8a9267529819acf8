"""Write .dvc/plots.html, the page of `dvc plots`, with Vega in it: `make plots-page`.

DVC's own page loads Vega from a network. This needs npm, and is needed again only for another
version of Vega.
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
<!-- DVC fills this page in (.dvc/config). Written by maintenance/plots_page.py; holds %(versions)s:

%(license)s-->
<style>
:root { color-scheme: light dark; }
body { max-width: 84rem; margin: 0 auto; padding: 1rem; font: 1rem/1.5 system-ui, sans-serif;
  color: light-dark(#1f2328, #e0e3e7); background: light-dark(#fff, #14171b); }
main { display: flex; flex-wrap: wrap; gap: 1rem; align-items: start; }
main > div { max-width: 100%%; border: 0 !important; text-align: left !important;
  white-space: normal !important; }
main > div > div { border: 0 !important; margin: 0 .5rem 0 0 !important; }
main > div > p { display: none; } /* the name of a picture's file; the picture has a title */
p { margin: .2rem 0; }
img, .vega-embed { border-radius: 6px; }
/* With 100%%, the box around a picture would stay wider. */
img { max-width: min(36rem, 100vw - 2rem); max-height: 24rem; }
.vega-embed { overflow-x: auto; padding: .5rem; color: #1f2328; background: #fff;
  color-scheme: light; }
@media (prefers-color-scheme: dark) {
  img, .vega-embed { filter: invert(.92) hue-rotate(180deg); } /* they are drawn on white */
}
</style>
%(scripts)s
<script>
const embed = vegaEmbed; // DVC's specs put the legend beside the plot, where a phone has no room
const plotOptions = {actions: false, config: {legend: {orient: "bottom"}}};
vegaEmbed = (element, spec) => embed(element, spec, plotOptions);
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


def main() -> None:
    packages = [f"{name}@{version}" for name, version in VEGA.items()]
    with tempfile.TemporaryDirectory() as folder:
        install = ["npm", "install", "--prefix", folder, "--ignore-scripts"]
        subprocess.run([*install, "--no-audit", "--no-fund", *packages], check=True)
        modules = Path(folder, "node_modules")
        scripts = []
        for name in VEGA:
            code = (modules / name / "build" / f"{name}.min.js").read_text()
            code = code.partition("//# sourceMappingURL")[0]
            scripts.append(f"<script>\n{code}</script>")
        license_text = (modules / "vega-lite" / "LICENSE").read_text()  # the same for all three
    filled = {
        "versions": ", ".join(packages),
        "license": license_text,
        "scripts": "\n".join(scripts),
    }
    page = Path(__file__).resolve().parents[1] / ".dvc" / "plots.html"
    page.write_text(PAGE % filled, newline="\n")


if __name__ == "__main__":
    main()
