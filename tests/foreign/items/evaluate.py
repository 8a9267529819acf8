import json
import re
import sys
from pathlib import Path

language = sys.argv[1]
rate = float(re.search("rate: (.*)", Path("params.yaml").read_text())[1])
if rate == 13:
    raise SystemExit("this rate fails")
Path("scores").mkdir(exist_ok=True)
Path(f"scores/{language}.json").write_text(json.dumps({"score": 10 * rate + len(language)}))
