"""Whether the results are those of the parameters: what DVC has noted of its stages in dvc.lock."""

import hashlib
import json

import msgspec
from spirals.results import md5

from pipeline import paths
from pipeline.errors import UserError
from pipeline.files import REMAKE, read_yaml, reading

DELETE = "Delete it and run dvc repro, which makes it anew from the cache"


def check_locked(params, results, root):
    """Makes sure that what is to be published was made by the stages, one from the other, with these parameters.

    Without a dvc.lock, where the scripts are run without DVC, there is nothing to compare with.

    Raises:
        UserError: params.yaml was changed since, a stage has not run since, or a file is
            not what its stage wrote.
    """
    if not (root / paths.LOCK).exists():
        return
    content = read_yaml(root / paths.LOCK, DELETE)
    with reading(root / paths.LOCK, DELETE):
        stages = content["stages"]
        makers = {out["path"]: (name, out.get("md5")) for name in stages for out in stages[name].get("outs", ())}

    shown = {str(paths.METRICS): md5([root / paths.METRICS]), str(paths.FRAMES): _folder_md5(root / paths.FRAMES)}
    for result in results:
        shown |= {**result.hashes, **{str(path.relative_to(root)): md5([path]) for path in result.pictures}}
    for path, found in shown.items():
        if path not in makers:
            raise UserError(f"{path} is not an output of a stage in {paths.LOCK}: declare it in dvc.yaml")
        if found != makers[path][1]:
            raise UserError(f"{path} is not what its stage wrote ({paths.LOCK}). {REMAKE}.")

    now = msgspec.to_builtins(params)
    upstream = list(dict.fromkeys(makers[path][0] for path in shown))
    for stage in upstream:  # which grows meanwhile
        for key, used in stages[stage].get("params", {}).get(str(paths.PARAMS), {}).items():
            section, _, name = key.partition(".")
            given = now.get(section, {}).get(name) if name else now.get(section)
            _compare(_by_name(key, used), _by_name(key, given))
        for dep in stages[stage].get("deps", ()):
            if dep["path"] in makers:
                maker, made = makers[dep["path"]]
                if dep.get("md5") != made:
                    raise UserError(f"{dep['path']} is newer than what was made from it: run dvc repro")
                if maker not in upstream:
                    upstream.append(maker)


def _by_name(key, value):
    return {f"{key}.{name}": one for name, one in value.items()} if isinstance(value, dict) else {key: value}


def _compare(used, given):
    for name in used | given:
        if used.get(name) != given.get(name):
            raise UserError(
                f"{paths.PARAMS}: {name} is {given.get(name)}, but the results were made with {used.get(name)}:"
                " run dvc repro"
            )


def _folder_md5(folder):
    """The hash that DVC gives to a folder: that of the list of its files."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    listed = [{"md5": md5([files[name]]), "relpath": name} for name in sorted(files)]
    return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + ".dir"
