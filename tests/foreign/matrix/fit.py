import json
import sys
from pathlib import Path

model, depth, rate = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
if rate == 13:
    raise SystemExit("this rate fails")
folder = Path(f"out/{model}-{sys.argv[2]}")
folder.mkdir(parents=True, exist_ok=True)
(folder / "metrics.json").write_text(json.dumps({"score": 10 * rate + depth}))
