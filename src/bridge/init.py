"""Write the stage that publishes into dvc.yaml, and what Git shall ignore into .gitignore."""

import difflib
import io
import json
import re
import shlex
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bridge.atomic import atomic_write
from bridge.errors import UserError
from bridge.files import main_checkout
from bridge.git import Git
from bridge.settings import FILE
from bridge.stages import NO_OUTPUTS, RECEIPTS, Pipeline

FOLDER = Path(__file__).resolve().parent
PIPELINE_FILE = "dvc.yaml"
COMMAND = "dvc-mlflow"  # where the bridge is installed
STAGE_NAMES = ("track", "publish-to-mlflow")  # the second where the first is taken
# Lines of .gitignore, and a path that each hides.
RULES = {
    "/mlflow.db*": "mlflow.db",
    "/.mlflow.*": ".mlflow.db.1",
    "/mlflow-bridge/": "mlflow-bridge/receipt.json",
}
RULE_OF_COPY = {"__pycache__/": "__pycache__/a.pyc"}  # where the bridge lies in the project
PLAIN_PATH = re.compile(r"[A-Za-z_.$][\w./${}-]*")  # needs no quotes in YAML


@dataclass(frozen=True)
class FileChange:
    """A file as it is, and as it shall be."""

    path: Path
    old: str
    new: str

    def diff(self) -> str:
        """Return the change as `git diff` shows it."""
        old, new = self.old.splitlines(), self.new.splitlines()
        name = self.path.name
        lines = difflib.unified_diff(old, new, name, name, lineterm="")
        return "\n".join(lines)


def copied_to(root: Path) -> str | None:
    """Return where in the project the folder of the bridge lies; None where it is installed."""
    if "site-packages" in FOLDER.parts or "dist-packages" in FOLDER.parts:
        return None
    for project in (root, main_checkout(root)):
        if FOLDER.is_relative_to(project):
            return FOLDER.relative_to(project).as_posix()
    return None


def bridge_command(root: Path) -> str:
    """Return the command that runs the bridge in the project's folder."""
    folder = copied_to(root)
    return f"python {shlex.quote(folder)}" if folder else COMMAND


def stage_text(pipeline: Pipeline, name: str = "track", indent: int = 2) -> str:
    """Return the stage of dvc.yaml that publishes all that the others write.

    It runs whenever an output or a file of parameters has changed. Paths from templates stay these
    templates where they mean the same in our stage.

    Args:
        pipeline: with the stages.
        name: of the new one.
        indent: spaces before it.
    """
    deps = _texts_of_deps(pipeline)
    if (pipeline.root / FILE).exists():
        deps.append(FILE)
    command = _yaml_text(bridge_command(pipeline.root))
    lines = [f"{name}:", f"  cmd: {command}", "  deps:"]
    for path in deps:
        lines.append(f"    - {_yaml_text(path)}")
    lines.append("  outs:")
    lines.append(f"    - {pipeline.receipt}: {{cache: false}}")
    return textwrap.indent("\n".join(lines), " " * indent)


def _texts_of_deps(pipeline: Pipeline) -> list[str]:
    """Return outputs and files of parameters, as paths or as templates that our stage can have."""
    texts: dict[str, str] = {}
    stages = pipeline.declared.values()
    for stage in stages:
        for path in stage.outs:
            texts[path] = stage.templates.get(path, path)
    for stage in stages:
        for path in stage.params:
            texts.setdefault(path, stage.templates.get(path, path))
    return list(texts.values())


def _yaml_text(text: str) -> str:
    """Return a text as YAML has it: quoted as in JSON, if it needs quotes."""
    is_plain = all(PLAIN_PATH.fullmatch(word) for word in text.split(" "))
    return text if is_plain else json.dumps(text)


def changes(pipeline: Pipeline, *, force: bool) -> list[FileChange]:
    """Return the files that `init` changes; none where all is there.

    Args:
        pipeline: of the project.
        force: whether a stage that is there is written again, with all outputs of now.

    Raises:
        UserError: there is no stage to publish, or dvc.yaml is written in a way that cannot be
            added to.
    """
    if not pipeline.declared:
        raise UserError("there is no stage to publish: dvc.yaml has none")
    if not pipeline.declared_outs():
        raise UserError(NO_OUTPUTS)
    found = [_pipeline_change(pipeline, force=force), _ignore_change(pipeline.root)]
    return [change for change in found if change.new != change.old]


def _pipeline_change(pipeline: Pipeline, *, force: bool) -> FileChange:
    path = pipeline.root / PIPELINE_FILE
    old = _read(path)
    own = own_stage(pipeline.root)
    if own and not force:
        return FileChange(path, old, old)
    try:
        text = _without_stage(old, own) if own else old
        new = _with_stage(text, pipeline, own)
        _check_new(new, text)
    except (YAMLError, AttributeError, KeyError, TypeError, ValueError):
        by_hand = f"put this below stages: in {PIPELINE_FILE} yourself:\n{stage_text(pipeline)}"
        reason = f"cannot add a stage to {PIPELINE_FILE} as it is written"
        raise UserError(f"{reason}; {by_hand}") from None
    return FileChange(path, old, new)


def own_stage(root: Path) -> str | None:
    """Return the name of the stage in dvc.yaml that publishes; None if there is none."""
    content = _load(_read(root / PIPELINE_FILE)) or {}
    stages = content.get("stages") or {}
    for name, stage in stages.items():
        outs = stage.get("outs") if isinstance(stage, dict) else None
        if _has_receipt(outs or []):
            return str(name)
    return None


def _has_receipt(outs: list[Any]) -> bool:
    """Return whether ours is among the outputs, which may have properties below their paths."""
    for out in outs:
        paths = [out] if isinstance(out, str) else out
        if not set(RECEIPTS).isdisjoint(paths):
            return True
    return False


def _without_stage(text: str, name: str) -> str:
    """Return the text of dvc.yaml without the lines of a stage."""
    begin, end = _lines_of(text, name)
    lines = text.splitlines(keepends=True)
    return "".join(lines[:begin] + lines[end:])


def _lines_of(text: str, name: str) -> tuple[int, int]:
    """Return the first line of a stage, and the one after its last."""
    stages = _load(text)["stages"]
    begin = _line_of(stages, name)
    end = _next_line(stages, begin, _end_of_stages(text))
    return begin, _last_content(text.splitlines(), begin, end)


def _end_of_stages(text: str) -> int:
    """Return the line after the stages: that of the next key, or after the last."""
    content = _load(text)
    begin = _line_of(content, "stages")
    return _next_line(content, begin, len(text.splitlines()))


def _line_of(content: Any, key: str) -> int:
    """Return the line of a key, from 0."""
    return int(content.lc.key(key)[0])


def _next_line(content: Any, begin: int, end: int) -> int:
    """Return the line of the first key after a line; the end where there is none."""
    for key in content:
        line = _line_of(content, key)
        if line > begin:
            end = min(end, line)
    return end


def _last_content(lines: list[str], begin: int, end: int) -> int:
    """Return the line after the last that is neither empty nor a comment."""
    while end > begin and re.fullmatch(r"\s*(#.*)?\s*", lines[end - 1]):
        end -= 1
    return end


def _with_stage(text: str, pipeline: Pipeline, name: str | None) -> str:
    """Return the text of dvc.yaml with our stage as the last one; all else stays, byte by byte."""
    newline = "\r\n" if "\r\n" in text else "\n"
    content: Any = _load(text) or {}
    stages: Any = content.get("stages") or {}
    if not name:
        name = next(name for name in STAGE_NAMES if name not in stages)
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += newline
    indent = stages.lc.col if stages else 2
    added = stage_text(pipeline, name, indent).splitlines()
    place = len(lines)
    if stages:
        place = _last_content(lines, 0, _end_of_stages(text))
    elif "stages" in content:  # and all of its stages have gone
        place = _line_of(content, "stages") + 1
    else:
        added.insert(0, "stages:")
    lines[place:place] = [line + newline for line in added]
    return "".join(lines)


def _check_new(new: str, old: str) -> None:
    """Check that a text says what the old one does, and one stage more; ValueError if not."""
    after, before = _load(new), _load(old) or {}
    (added,) = set(after["stages"]) - set(before.get("stages") or {})
    del after["stages"][added]
    for content in (after, before):
        if not content.get("stages"):
            content.pop("stages", None)
    if after != before:
        raise ValueError("another place of dvc.yaml would change")


def _ignore_change(root: Path) -> FileChange:
    """Return .gitignore with the rules that are missing, each in a line of its own."""
    path = root / ".gitignore"
    old = _read(path)
    newline = "\r\n" if "\r\n" in old else "\n"
    new = old
    for rule in missing_rules(root):
        if new and not new.endswith("\n"):
            new += newline
        new += rule + newline
    return FileChange(path, old, new)


def missing_rules(root: Path) -> list[str]:
    """Return the lines that .gitignore needs: those whose paths Git does not ignore yet."""
    rules = RULES | (RULE_OF_COPY if copied_to(root) else {})
    lines = _read(root / ".gitignore").splitlines()
    git = Git(root)
    missing = []
    for rule, path in rules.items():
        if rule not in lines and not git.is_ignored(path):
            missing.append(rule)
    return missing


def _read(path: Path) -> str:
    """Return the text of a file with its own line ends; "" if it is not there."""
    if not path.exists():
        return ""
    with path.open(encoding="utf-8", newline="") as file:
        return file.read()


def _load(text: str) -> Any:
    return YAML(typ="rt").load(io.StringIO(text))


def write_changes(found: list[FileChange], *, is_agreed: bool) -> None:
    """Show changes, ask whether they are right, and write them.

    Raises:
        UserError: nobody is there to be asked.
    """
    for change in found:
        print(change.diff())
    if not is_agreed and not _is_wanted():
        print("nothing was written")
        return
    for change in found:
        with atomic_write(change.path) as temporary:
            temporary.write_text(change.new, "utf-8", newline="")
            if change.path.exists():
                temporary.chmod(change.path.stat().st_mode)


def _is_wanted() -> bool:
    if not sys.stdin.isatty():
        raise UserError("nothing was written, as nobody is here to be asked: say init --yes")
    return input("Write this? [y/N] ").strip().lower() in ("y", "yes")
