"""What a job has to know of the launcher that started it: Hydra's joblib, submitit, Ray or basic one."""

from __future__ import annotations

import multiprocessing

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

TOGETHER = ("joblib", "submitit_local")
"""The launchers that run jobs side by side on the machine they are called on."""


def cpus_of_a_job(jobs: int | None = None) -> int:
    """The share of this machine's CPUs that one of a sweep's ``jobs`` has to itself; None: their number is not known.

    Under joblib (up to its ``n_jobs`` at once, negative: as many as CPUs) and submitit_local the jobs share the CPUs
    evenly; where their number is not known, as many are taken to run at once as the launcher allows. Ray lets a job
    have what it asks for, ``hydra.launcher.ray.remote.num_cpus``, one by default. The basic launcher runs one job after
    another, and Slurm binds a job to its own CPUs: there a job has all that it may use.
    """
    from learnat.sql.execution import usable_cpus

    cpus = usable_cpus()
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return cpus
    hydra = HydraConfig.get()
    name = hydra.runtime.choices["hydra/launcher"]
    if name == "ray":
        return int(hydra.launcher.ray.remote.get("num_cpus") or 1)
    if name not in TOGETHER:
        return cpus
    limit = hydra.launcher.n_jobs if name == "joblib" and hydra.launcher.n_jobs > 0 else cpus
    return max(cpus // min(jobs or limit, limit), 1)


def let_jobs_spawn() -> None:
    """Make the processes that this one spawns start under every launcher.

    A spawned process is told its parent's default start method, and joblib's workers have one of their own, ``loky``,
    which it has not heard of: it would end before it began.
    """
    if multiprocessing.get_start_method(allow_none=True) not in (None, *multiprocessing.get_all_start_methods()):
        multiprocessing.set_start_method("spawn", force=True)
