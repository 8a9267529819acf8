"""Shows the experiments of `dvc exp show` side by side, on one page: make compare.

Arguments are passed to `dvc exp show`: `python tools/compare --num 3` takes three commits.
"""

import json
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1]  # a folder that is run has only itself on the path
sys.path[:1] = [str(TOOLS), str(TOOLS.with_name("src"))]

from compare.experiments import collect, read_locked_params
from pictures.matplotlib_setup import isolate_matplotlib
from pipeline import paths
from pipeline.errors import UserError, exit_on_user_error
from pipeline.files import write_text

PAGE = paths.ROOT / "dvc_plots/compare/index.html"  # dvc plots show has its own page above


def main() -> None:
    isolate_matplotlib()
    from compare.page import make_page  # imports Matplotlib

    command = ["dvc", "exp", "show", "--json", *sys.argv[1:]]
    shown = subprocess.run(command, cwd=paths.ROOT, capture_output=True, text=True)
    if shown.returncode:
        raise UserError(f"dvc exp show failed: {shown.stderr.strip()}")
    experiments, left_out = collect(json.loads(shown.stdout), read_locked_params)
    if len(experiments) < 2:
        raise UserError(
            "there is nothing to compare yet: run dvc exp run -S train_mlp.hidden_units=20 first"
        )
    write_text(PAGE, make_page(experiments, left_out))
    print(PAGE.as_uri())


if __name__ == "__main__":
    with exit_on_user_error():
        main()
