import json
import sys
from pathlib import Path

rate, scale = map(float, sys.argv[1:3])
folder = Path(sys.argv[3])
if rate == 13:
    raise SystemExit("this rate fails")
folder.mkdir(exist_ok=True)
(folder / "metrics.json").write_text(json.dumps({"score": scale * rate}))
