import csv
import json
import re
from pathlib import Path

rate = float(re.search("rate: (.*)", Path("params.yaml").read_text())[1])
if rate == 13:
    raise SystemExit("this rate fails")
with open("history.csv", "w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["epoch", "loss"])
    for epoch in range(3):
        table.writerow([epoch, rate * epoch])
Path("metrics.json").write_text(json.dumps({"test": {"score": 10 * rate}}))
