import re
from pathlib import Path

rate = float(re.search("rate: (.*)", Path("../params.yaml").read_text())[1])
if rate == 13:
    raise SystemExit("this rate fails")
Path("../model.txt").write_text(str(10 * rate))
