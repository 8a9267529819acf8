"""Ask Git, so that no setting of the user's changes the answer.

Python must never find this file as `git`, which is GitPython's name: `bridge.__main__` sees to it.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

# Where DVC keeps an experiment: with its baseline and its name.
EXPERIMENT = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/(.+)")
# Variables that do not change what is answered; all others of Git's are left out: in a hook they
# name another folder or index, and traces go where complaints are looked for.
KEPT_VARIABLES = ("GIT_CONFIG", "GIT_EXEC_PATH", "GIT_CEILING_", "GIT_DISCOVERY_")

# Settings that change what `git status` finds, as Git has them where nothing is set. Those that
# have an option of the command are said there.
SETTINGS = {
    "core.fsmonitor": "false",  # a program that says which files may have changed
    "core.untrackedCache": "false",
    "core.ignoreStat": "false",
    "core.checkStat": "default",
    "core.trustctime": "true",
    "core.excludesFile": os.devnull,  # what only this user ignores
}


@dataclass(frozen=True)
class Answer:
    """What Git prints; None where it refuses, with the first line of its complaint."""

    text: str | None
    complaint: str = ""


@dataclass(frozen=True)
class Experiment:
    """A DVC experiment: a commit of its own, beside the one that it was run from."""

    name: str
    commit: str
    baseline: str


class Git:
    """The repository that a project lies in, if there is one."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def ask(self, *arguments: str, literal: bool = True) -> Answer:
        """Return what a command of Git prints.

        Args:
            arguments: the command and its own.
            literal: whether paths are paths, and no patterns; not every command knows the option.
        """
        settings = {**SETTINGS, "core.fileMode": str(_has_file_modes(self.root)).lower()}
        command = ["git", "--no-pager", "--no-optional-locks"]
        if literal:
            command.append("--literal-pathspecs")
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        try:
            done = subprocess.run(
                [*command, *arguments],
                cwd=self.root,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="surrogateescape",
            )
        except FileNotFoundError:  # no Git on this machine
            return Answer(None)
        if done.returncode != 0:
            return Answer(None, done.stderr.partition("\n")[0])
        return Answer(done.stdout)

    def head(self) -> Answer:
        """Return the commit that is checked out; an empty complaint where there is no Git."""
        answer = self.ask("rev-parse", "--verify", "HEAD")
        if answer.text is not None:
            return Answer(answer.text.strip())
        if "not a git repository" in answer.complaint:
            return Answer(None)
        if "Needed a single revision" in answer.complaint:
            return Answer(None, "there is no commit yet")
        return answer

    def changed_paths(self, paths: list[str]) -> list[str] | None:
        """Return the files that are not as in the commit; None if Git does not say it.

        Args:
            paths: files and folders to look at. All are relative to the project.
        """
        prefix = self.prefix()
        paths = [path for path in paths if _is_in_repository(prefix, path)]
        options = ["--porcelain=v1", "-z", "--untracked-files=all"]
        options += ["--ignore-submodules=none", "--no-renames"]
        answer = self.ask("status", *options, "--", *paths)
        if answer.text is None:
            return None
        changed = []
        for entry in filter(None, answer.text.split("\0")):
            path = entry[3:]  # after two letters of its state
            changed.append(os.path.relpath(path, prefix or "."))
        return [*changed, *self._changed_but_hidden(paths)]

    def _changed_but_hidden(self, paths: list[str]) -> list[str]:
        """Return changed files that are marked assume-unchanged or skip-worktree."""
        text = self.ask("ls-files", "-v", "-z", "--", *paths).text or ""
        changed = []
        for entry in filter(None, text.split("\0")):
            flag, path = entry[0], entry[2:]
            if flag != "S" and not flag.islower():
                continue
            content = self.ask("hash-object", "--", path).text
            if content != self.ask("rev-parse", f"HEAD:./{path}").text:
                changed.append(path)
        return changed

    def prefix(self) -> str:
        """Return the path of the project in the repository, with a slash at the end, or ""."""
        return (self.ask("rev-parse", "--show-prefix").text or "").rstrip("\n")

    def top(self) -> str | None:
        """Return the folder of the repository; None where there is none."""
        text = self.ask("rev-parse", "--show-toplevel").text
        return None if text is None else text.rstrip("\n")

    def remote(self) -> str | None:
        """Return the address that the repository was cloned from, secrets and all.

        It is that of `origin`, or of the only one there is.
        """
        pattern = r"^remote\..*\.url$"
        text = self.ask("config", "--local", "--null", "--get-regexp", pattern).text or ""
        addresses: dict[str, str] = {}
        for entry in filter(None, text.split("\0")):
            key, _, address = entry.partition("\n")
            addresses.setdefault(key, address)
        if len(addresses) == 1:
            return next(iter(addresses.values()))
        return addresses.get("remote.origin.url")

    def is_ignored(self, path: str) -> bool:
        """Return whether .gitignore hides a path, were it not tracked; False without Git."""
        command = ["check-ignore", "--quiet", "--no-index", "--", path]
        return self.ask(*command, literal=False).text is not None

    def tracked(self, paths: list[str]) -> list[str]:
        """Return which of the files, and of the files in the folders, Git tracks."""
        text = self.ask("ls-files", "-z", "--", *paths).text or ""
        return list(filter(None, text.split("\0")))

    def experiments(self) -> list["Experiment"]:
        """Return the DVC experiments that are there, in the order in which they were made."""
        options = ["--sort=creatordate", "--format=%(refname) %(objectname)"]
        text = self.ask("for-each-ref", *options, "refs/exps").text or ""
        found = []
        for line in text.splitlines():
            reference, commit = line.split(" ")
            parts = EXPERIMENT.fullmatch(reference)
            if parts:  # and not the queue's own
                found.append(Experiment(parts[3], commit, baseline=parts[1] + parts[2]))
        return found

    def commits(self) -> list[str]:
        """Return all commits of branches and tags, and those before HEAD, the oldest first."""
        options = ["--topo-order", "--reverse", "--branches", "--tags", "HEAD"]
        return (self.ask("rev-list", *options, "--").text or "").split()

    def file_at(self, commit: str, path: str) -> str | None:
        """Return what a file holds in a commit; None if it is not there."""
        return self.ask("cat-file", "blob", f"{commit}:./{path}").text


def _is_in_repository(prefix: str, path: str) -> bool:
    """Return whether a path is one that Git can be asked about: it refuses those outside."""
    if "://" in path or path.startswith("/"):
        return False
    return not os.path.normpath(os.path.join(prefix, path)).startswith("..")


def _environment() -> dict[str, str]:
    """Return the variables that Git gets: it complains in English."""
    variables = {}
    for name, value in os.environ.items():
        if not name.startswith("GIT_") or name.startswith(KEPT_VARIABLES):
            variables[name] = value
    return {**variables, "LC_ALL": "C", "LANGUAGE": "C"}


def _has_file_modes(root: Path) -> bool:
    """Return whether the disk knows which files may be executed.

    Where it does not, every file looks executable, even one that DVC wrote.
    """
    try:
        return os.name != "nt" and not (root / ".dvc/config").stat().st_mode & 0o111
    except OSError:
        return True
