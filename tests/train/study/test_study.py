"""Whole studies in real processes: killed, resumed on another runner, and refused."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from fieldtune import settings
from fieldtune.train.alone import InUse, training
from fieldtune.train.config import AgentReplay
from fieldtune.train.phases.in_simulation import train_in_process
from fieldtune.train.phases.self_supervised import SelfSupervisedPhase
from fieldtune.train.runs.checkpoint import CheckpointError, Progress, read_facts, save_checkpoint
from fieldtune.train.runs.config_file import load_config
from fieldtune.train.study import job as job_module
from fieldtune.train.study.plan import Job, Study, load_study
from fieldtune.train.study.runners import LocalRunner
from fieldtune.train.study.scheduler import StudyError, open_study, run_study

TINY = {
    "family": "cheetah-vel",
    "data": {"episodes_per_task": 1, "agent": {"rounds": 2, "updates_per_round": 3}},
    "algorithm": {
        "meta_batch": 2,
        "batch": 8,
        "networks": {"encoder": [8], "policy": [8], "critic": [8], "decoder": [8]},
    },
    "offline": {"updates": 8, "checkpoint_every": 4},
    "self_supervised": {
        "updates": 20,
        "first_steps": 1000,
        "steps": 3000,
        "checkpoint_every": 5,
    },
    "evaluation": {"context_episodes": 1, "repeats": 1},
    "robot": {
        "name": "cheetah",
        "family": "cheetah-vel",
        "exploration": {"prior_episodes": 1, "posterior_episodes": 0},
    },
}


def started(tmp_path, folder, *options):
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(TINY))
    command = [
        sys.executable,
        "-m",
        "fieldtune.train.launch",
        "study",
        "cheetah-vel",
        "--seeds",
        "1",
        "--methods",
        "offline,trained,oracle,longer-offline,pearl",  # one of each kind of job
    ]
    command += ["--config", str(config), "--out", str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finished(process):
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 0, said
    return said


def wait_for(path):
    deadline = time.monotonic() + 300
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def alive(marker):
    """Processes whose command line names `marker`."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if marker.encode() in process.read_bytes():
                found.append(process)
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seeds", "shared", "sent"),
    [
        (1, (), signal.SIGINT),
        (1, (), signal.SIGTERM),
        (2, ("--together", "2"), signal.SIGINT),
    ],
)
def test_an_interrupted_studys_process_saves_what_it_learned(tmp_path, seeds, shared, sent):
    """Before any checkpoint is due; of two seeds in one process, each of them."""
    folder, many = tmp_path / "study", 10**6
    lengths = [f"offline.updates={many}", f"offline.checkpoint_every={many}"]
    process = started(tmp_path, folder, "--seeds", str(seeds), *shared, *lengths)
    jobs = [Job(folder, "offline", seed) for seed in range(seeds)]
    for job in jobs:
        wait_for(job.progress)
        while not job.progress.read_text() or int(job.progress.read_text().split()[0]) == 0:
            assert process.poll() is None
            time.sleep(0.05)
    process.send_signal(sent)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert jobs[0].shared_log.exists() == bool(shared)
    for job in jobs:
        updates = read_facts(job.folder / "checkpoints" / "offline.safetensors")["updates"]
        assert 0 < updates < many


@pytest.mark.slow
def test_a_study_killed_here_and_then_with_its_machine_gives_the_table_of_one_never_stopped(
    tmp_path, two_machines
):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert "gap closed" in finished(started(tmp_path, whole))
    process = started(tmp_path, broken)
    wait_for(broken / "seed-0" / "checkpoints" / "trained.safetensors")
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while alive(str(broken)):
        assert time.monotonic() < deadline, "a killed study left its jobs running"
        time.sleep(0.05)
    assert not (broken / "README.md").exists()
    process = started(tmp_path, broken, "--runner", "ray", "--gpus-per-job", "0.5")
    wait_for(broken / "seed-0" / "checkpoints" / "oracle.safetensors")
    (with_gpu,) = two_machines.worker_nodes
    two_machines.remove_node(with_gpu, allow_graceful=False)
    said, _ = process.communicate(timeout=500)
    assert process.returncode == 1, said
    assert "2 machines, 3 cores, 1 GPU; a process takes 1 core and 0.5 GPU; 2 at once" in said
    assert "seed 0: oracle failed" in said
    assert "the machine that this ran on is gone" in said
    said = finished(started(tmp_path, broken, "--runner", "ray"))
    assert "1 machine, 1 core, 0 GPUs; a process takes 1 core; 1 at once" in said
    assert json.loads((broken / "metrics.json").read_text()) == json.loads(
        (whole / "metrics.json").read_text()
    )
    assert Job(broken, "oracle", 0).log.exists()


def test_a_folder_of_another_study_is_refused_by_the_key_that_changed(tmp_path, make_config):
    open_study(tmp_path / "s", Study(config=make_config(), seeds=1))
    for key, value in {"offline.updates": 7, "robot.exploration.follow_rewards": "true"}.items():
        other = Study(config=make_config(f"{key}={value}"), seeds=1)
        with pytest.raises(StudyError, match=f"another {re.escape(key)} "):
            open_study(tmp_path / "s", other)
    open_study(tmp_path / "s", Study(config=make_config("robot.name=other"), seeds=1))


def test_a_study_that_is_moved_with_its_data_goes_on(tmp_path, make_config):
    def study(folder):
        return Study(config=make_config(f"data.path={tmp_path / folder / 'data'}"), seeds=1)

    open_study(tmp_path / "s", study("s"))
    (tmp_path / "s").rename(tmp_path / "moved")
    open_study(tmp_path / "moved", study("moved"))
    with pytest.raises(StudyError, match=r"if its data were moved, set data.path in .*study.yaml"):
        open_study(tmp_path / "moved", study("elsewhere"))


def test_a_study_goes_on_by_another_protocol_which_no_weights_depend_on(tmp_path, make_config):
    folder = tmp_path / "s"
    open_study(folder, Study(config=make_config(), seeds=2))
    settings.dump(make_config("seed=1"), folder / "seed-1" / "config.yaml", movable="data.path")
    open_study(folder, Study(config=make_config("evaluation.context_episodes=5"), seeds=1))
    asked = load_study(folder / "study.yaml")
    assert (asked.seeds, asked.config.evaluation.context_episodes) == (2, 5)
    seed = load_config(folder / "seed-1" / "config.yaml")
    assert (seed.seed, seed.evaluation.context_episodes) == (1, 5)


@pytest.mark.parametrize(
    ("method", "encoder", "inference"),
    [
        ("trained", "trained", "likelihood"),
        ("trained-encoder", "trained", "encoder"),
        ("frozen", "frozen", "encoder"),
        ("frozen-oracle", "frozen", "encoder"),
        ("oracle", "trained", "likelihood"),
    ],
)
def test_a_method_is_the_runs_phase_2_but_for_what_it_is_named_for(
    make_run, method, encoder, inference
):
    run = make_run()
    asked = job_module._as_asked(run, method).config
    assert (asked.self_supervised.encoder, asked.inference) == (encoder, inference)
    changed = {"inference": inference, "self_supervised": asked.self_supervised}
    assert asked == run.config.model_copy(update=changed)


def test_what_an_older_version_explored_by_the_encoder_is_no_exploration_by_likelihood(
    make_trained,
):
    run = make_trained()
    path = run.folder / "checkpoints" / "trained.safetensors"
    train_in_process(run, path, true_rewards=False)
    job_module._require_same_inference(run, path)
    phase = SelfSupervisedPhase(run)
    phase.restore(path)
    facts = read_facts(path)
    del facts["settings"]["inference"]
    save_checkpoint(path, phase.learner, phase.rng, Progress(facts))
    with pytest.raises(CheckpointError, match=r"explored by the encoder, and .* by likelihood"):
        job_module._require_same_inference(run, path)
    by_encoder = run.config.model_copy(update={"inference": "encoder"})
    job_module._require_same_inference(replace(run, config=by_encoder), path)


def test_more_seeds_can_be_asked_for_later(tmp_path, make_config):
    for seeds in (1, 3, 2):
        open_study(tmp_path / "s", Study(config=make_config(), seeds=seeds))
    assert "seeds: 3" in (tmp_path / "s" / "study.yaml").read_text()


def test_a_failing_job_is_named_with_the_end_of_its_log_and_what_needs_it_waits(
    tmp_path, make_config
):
    few = make_config(f"data.path={tmp_path / 'data'}", "data.episodes_per_task=3")
    data = few.data.model_copy(update={"agent": AgentReplay(rounds=1)})
    few = few.model_copy(update={"data": data})
    open_study(tmp_path / "s", Study(config=few, seeds=1))
    with pytest.raises(StudyError, match=r"collect failed; the end of(.|\n)*agent\.rounds is 1"):
        run_study(tmp_path / "s", 1, LocalRunner(2), lambda *_: None)
    assert not (tmp_path / "s" / "seed-0").exists()


def test_a_study_runs_in_one_process_at_a_time(tmp_path, make_config):
    open_study(tmp_path / "s", Study(config=make_config(), seeds=1))
    inside = []

    def look(*_):
        with pytest.raises(StudyError, match=rf"process {os.getpid()} is running this study"):
            run_study(tmp_path / "s", 1, LocalRunner(1), lambda *_: None)
        inside.append(True)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_study(tmp_path / "s", 1, LocalRunner(1), look)
    assert inside


def test_a_job_waits_for_that_of_a_study_that_was_killed_but_not_for_ever(
    tmp_path, make_config, monkeypatch
):
    """A cluster takes a while to end what a killed study began."""
    monkeypatch.setattr(job_module, "LOOK_S", 0.1)
    open_study(tmp_path / "s", Study(config=make_config(), seeds=1))
    job = Job(tmp_path / "s", "meta-bc", 0)
    with ExitStack() as held:
        held.enter_context(training(job.folder / "checkpoints" / "meta-bc.safetensors"))
        monkeypatch.setattr(job_module, "EARLIER_S", 0.0)
        with pytest.raises(InUse):
            job_module.run_after_earlier(job)
        monkeypatch.setattr(job_module, "EARLIER_S", 300.0)
        threading.Timer(1.0, held.close).start()
        job_module.run_after_earlier(job)
    assert job.done
