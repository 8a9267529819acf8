import json
import re
from pathlib import Path

rate = float(re.search("rate: (.*)", Path("params.yaml").read_text())[1])
if rate == 13:
    raise SystemExit("this rate fails")
curve = Path("results/live/plots/metrics/train/loss.tsv")
curve.parent.mkdir(parents=True, exist_ok=True)
losses = [rate * step for step in range(3)]
rows = "".join(f"{step}\t{loss}\n" for step, loss in enumerate(losses))
curve.write_text(f"step\tloss\n{rows}")
final = {"train": {"loss": losses[-1]}, "score": 10 * rate, "step": 2}
Path("results/live/metrics.json").write_text(json.dumps(final))
Path("results/live/params.yaml").write_text(f"optimizer: adam\nwarmup: {3 * rate}\n")
Path("model.txt").write_text(str(rate))
