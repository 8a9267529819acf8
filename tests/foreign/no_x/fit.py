import json
import re
from pathlib import Path

rate = float(re.search("rate: (.*)", Path("params.yaml").read_text())[1])
if rate == 13:
    raise SystemExit("this rate fails")
rows = [rate * row for row in range(3)]
Path("rows.csv").write_text("loss,word\n" + "".join(f"{loss},a\n" for loss in rows))
steps = [{"step": 10 * step, "gain": gain} for step, gain in enumerate(rows)]
Path("logs").mkdir(exist_ok=True)
Path("logs/gain.json").write_text(json.dumps(steps))
Path("pairs.csv").write_text("actual,predicted\n1,2\n")
Path("score.json").write_text(json.dumps({"score": 10 * rate}))
