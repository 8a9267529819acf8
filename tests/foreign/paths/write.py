import json
import sys
from pathlib import Path

for name in sys.argv[1:]:
    Path(name).parent.mkdir(exist_ok=True)
    Path(name).write_text(json.dumps({"score": 1}))
