import json
import re
import sys
from pathlib import Path

if sys.argv[1] == "clean":
    Path("clean.txt").write_text("5")
else:
    rate = float(re.search("rate: (.*)", Path("params.yaml").read_text())[1])
    if rate == 13:
        raise SystemExit("this rate fails")
    Path("metrics.json").write_text(json.dumps({"score": 10 * rate}))
