"""A study on a Dask cluster, chosen by the user as joblib's backend; a worker is killed while it trains."""

import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("distributed", reason="dask[distributed] is not installed")

STUDY = textwrap.dedent(
    """
    import os
    import signal
    import sys
    import threading
    import time
    from pathlib import Path

    import joblib
    import transferzoo as tz
    from dask.distributed import Client, LocalCluster


    def kill_one(client, out):
        while True:
            busy = [worker for worker, tasks in client.processing().items() if tasks]
            if busy and list(out.glob("*/.running.json")):
                os.kill(client.run(os.getpid)[busy[0]], signal.SIGKILL)
                print("killed", flush=True)
                return
            time.sleep(0.1)


    if __name__ == "__main__":
        out = Path(sys.argv[1])
        data = tz.load_dataset("digits").subset(train=60, validation=40, test=40)
        cluster = LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None)
        with cluster, Client(cluster) as client:
            threading.Thread(target=kill_one, args=(client, out), daemon=True).start()
            with joblib.parallel_config(backend="dask"):
                study = tz.compare(
                    ["mobilenet_025"], data, out=out, seeds=range(4), n_jobs=3, epochs=2, weights=None,
                    lint=False, save_model=False,
                )
        print(sorted(run.seed for run in study.results), study.failures, flush=True)
    """
)


@pytest.mark.slow
def test_a_study_on_a_cluster_outlives_one_of_its_workers(tmp_path):
    script = tmp_path / "study.py"
    script.write_text(STUDY)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "study"], capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["killed", "[0, 1, 2, 3] ()"]
    # the workers' lines reach the user, each with the run that it is about
    assert "[mobilenet_025 seed 3] " in done.stderr
