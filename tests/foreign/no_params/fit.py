import json
import re
from pathlib import Path

rate = float(re.search("rate: (.*)", Path("rate.txt").read_text())[1])
if rate == 13:
    raise SystemExit("this rate fails")
Path("metrics.json").write_text(json.dumps({"score": 10 * rate}))
