"""The scripts and manifests under examples/: valid, and the commands in them are ours."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from reflectioncoder.cli import _parse
from reflectioncoder.shards import Shard

EXAMPLES = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted([*EXAMPLES.rglob("*.sh"), *EXAMPLES.rglob("*.sbatch")])
MANIFESTS = sorted(EXAMPLES.rglob("*.yaml"))
GIVEN = {
    "SAMPLES": "samples.jsonl", "BENCHMARK": "bundled/seen", "OUTPUT": "results", "RECIPE": "demo", "RUNS_DIR": "runs",
    "FOLDER": "results", "NUM_SHARDS": "8", "SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "1",
}  # fmt: skip

JOB = {"apiVersion": "batch/v1", "kind": "Job"}
JOB_SPEC = {
    "activeDeadlineSeconds": int, "backoffLimit": int, "backoffLimitPerIndex": int, "completionMode": str, "completions": int,
    "maxFailedIndexes": int, "parallelism": int, "podFailurePolicy": dict, "podReplacementPolicy": str, "suspend": bool,
    "template": dict, "ttlSecondsAfterFinished": int,
}  # fmt: skip
POD_SPEC = {
    "containers": list, "volumes": list, "restartPolicy": str, "terminationGracePeriodSeconds": int, "nodeSelector": dict,
    "tolerations": list, "serviceAccountName": str, "securityContext": dict,
}  # fmt: skip
CONTAINER = {
    "name": str, "image": str, "command": list, "args": list, "env": list, "resources": dict, "securityContext": dict,
    "volumeMounts": list, "workingDir": str,
}  # fmt: skip
"""Fields of the Kubernetes API (batch/v1, v1) that these manifests may use, with their types."""


def run(folder, line, **given):
    """Run a command line with stand-ins for sbatch and our command; return what each was called with."""
    calls = folder / "calls"
    calls.touch()
    for name, says in (("reflectioncoder", ""), ("sbatch", "echo 4711")):
        stand_in = folder / name
        stand_in.write_text(f'#!/bin/bash\n{{ printf "%s\\0" {name} "$@"; echo; }} >> "{calls}"\n{says}\n')
        stand_in.chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}", **GIVEN, **given}
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [call.split("\0")[:-1] for call in calls.read_text().splitlines()]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_bash(script):
    done = subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "set -euo pipefail" in script.read_text()


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.suffix == ".sbatch"], ids=lambda path: path.name)
def test_the_command_of_a_batch_script_is_ours(script, tmp_path):
    ((name, *argv),) = run(tmp_path, ["bash", script])
    assert name == "reflectioncoder"
    args, _ = _parse(argv)
    assert argv[0] == "merge" or args.shard == Shard(3, 8), "the number of shards is that of the whole array"


def test_the_submitting_script_merges_what_it_submits(tmp_path):
    array, merging = run(tmp_path, ["bash", EXAMPLES / "slurm" / "submit.sh"])
    assert "--array=1-8" in array
    assert "--dependency=afterok:4711" in merging
    assert [call[-1] for call in (array, merging)] == ["score.sbatch", "merge.sbatch"]
    assert all((EXAMPLES / "slurm" / call[-1]).is_file() for call in (array, merging))


def require_fields(found, known, where):
    assert not found.keys() - known.keys(), f"{where} has no such fields: {found.keys() - known.keys()}"
    assert all(isinstance(value, known[name]) for name, value in found.items()), where


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_a_job_of_kubernetes(manifest):
    job = yaml.safe_load(manifest.read_text())
    assert {name: job[name] for name in JOB} == JOB
    assert job.keys() == {*JOB, "metadata", "spec"}
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    require_fields(spec, JOB_SPEC, "a job")
    require_fields(pod, POD_SPEC, "a pod")
    assert {"containers", "restartPolicy"} <= pod.keys()
    for container in pod["containers"]:
        require_fields(container, CONTAINER, "a container")
        assert {"name", "image"} <= container.keys()
        mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
        assert mounted <= {volume["name"] for volume in pod["volumes"]}
    if spec.get("completionMode") == "Indexed":
        assert pod["restartPolicy"] == "Never", "backoffLimitPerIndex demands it"
        rules = spec["podFailurePolicy"]["rules"]
        assert {rule["action"] for rule in rules} <= {"Ignore", "FailIndex", "Count", "FailJob"}
        named = {rule["onExitCodes"].get("containerName") for rule in rules if "onExitCodes" in rule}
        assert named <= {container["name"] for container in pod["containers"]}


def test_the_pods_of_the_indexed_job_are_its_shards(tmp_path):
    spec = yaml.safe_load((EXAMPLES / "kubernetes" / "score.yaml").read_text())["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    line, calls = [*container["command"], *container["args"]], []
    for index in range(spec["completions"]):
        calls = run(tmp_path, line, JOB_COMPLETION_INDEX=str(index))
    for call in calls:
        call[call.index("--data-dir") + 1] = str(tmp_path)  # the container's folder is not here
    shards = [_parse(argv)[0].shard for _, *argv in calls]
    assert shards == [Shard(index, spec["completions"]) for index in range(1, spec["completions"] + 1)]


def test_the_merging_job_takes_the_folders_of_the_indexed_one(tmp_path):
    given, merging = (yaml.safe_load((EXAMPLES / "kubernetes" / f"{name}.yaml").read_text()) for name in ("score", "merge"))
    ((_, *argv),) = run(tmp_path, ["bash", "-c", *merging["spec"]["template"]["spec"]["containers"][0]["args"]])
    args, _ = _parse(argv)
    assert [str(path) for path in args.shards] == [f"/work/results/shard-*-of-{given['spec']['completions']}"]
