import json
from pathlib import Path

from conf import RATE

if RATE == 13:
    raise SystemExit("this rate fails")
Path("metrics.json").write_text(json.dumps({"score": 10 * RATE}))
