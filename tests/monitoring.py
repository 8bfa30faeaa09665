"""The programs that watch a server, run for a test: postgres_exporter and Prometheus, on the loopback."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

FILES = Path(__file__).parents[1] / "scripts" / "monitoring"
EXPORTER = "prometheus-postgres-exporter"


def promtool(*arguments, told=None):
    """Run promtool; return what it says."""
    run = subprocess.run(
        ["promtool", *map(str, arguments)], input=told, capture_output=True, text=True, cwd=FILES
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


def free_port():
    """Return a port of the loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def fetched(port, path, **parameters):
    """Return what a program answers on a port of the loopback."""
    asked = "?" + urllib.parse.urlencode(parameters) if parameters else ""
    # The address is put together: no proxy of the environment is asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http:{'//'}127.0.0.1:{port}{path}{asked}", timeout=30) as answer:
        return answer.read().decode()


def wait_until(condition, seconds=60, every=0.25):
    """Wait until a condition is true; return what it returned."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "it did not happen"
        time.sleep(every)
    return found


@contextmanager
def program(command, log, **environment):
    """Run a program until the block ends; whatever it says goes into a file."""
    with open(log, "w", encoding="utf-8") as file:
        started = subprocess.Popen(
            [str(part) for part in command], stdout=file, stderr=file, env=os.environ | environment
        )
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


class Watched:
    """A server with an exporter and a Prometheus that watch it; made by `watch`."""

    def __init__(self, folder, exporter_port, port):
        self.folder, self.exporter_port, self.port = folder, exporter_port, port

    def exported(self):
        """Return what the exporter tells at the moment."""
        return fetched(self.exporter_port, "/metrics")

    def query(self, expression):
        """Return the samples of an expression as (labels, value)."""
        try:
            answer = json.loads(fetched(self.port, "/api/v1/query", query=expression))
        except urllib.error.HTTPError as problem:
            raise AssertionError(f"{expression}: {problem.read().decode()}") from None
        assert answer["status"] == "success", answer
        return [(one["metric"], float(one["value"][1])) for one in answer["data"]["result"]]

    def value(self, expression):
        """Return the one value of an expression, None where there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def firing(self):
        """Return (alert, labels) of all that fires."""
        alerts = json.loads(fetched(self.port, "/api/v1/alerts"))["data"]["alerts"]
        return {one["labels"]["alertname"]: one["labels"] for one in alerts if one["state"] == "firing"}


@contextmanager
def watch(folder, server, user, database, *, seconds=1):
    """Watch a database of a server as a role, with the files of scripts/monitoring; seconds between scrapes.

    Intervals and ports alone are changed in the files, and `for` is seconds instead of minutes.
    """
    exporter_port, port = free_port(), free_port()
    queries = (FILES / "queries.yaml").read_text(encoding="utf-8")
    (folder / "queries.yaml").write_text(
        queries.replace("cache_seconds: 300", "cache_seconds: 2").replace(
            "cache_seconds: 60", "cache_seconds: 2"
        )
    )
    told = (FILES / "prometheus.yml").read_text(encoding="utf-8")
    told = told.replace("15s", f"{seconds}s").replace("localhost:9187", f"127.0.0.1:{exporter_port}")
    (folder / "prometheus.yml").write_text(told)
    shutil.copy(FILES / "alerts.yml", folder)
    exporter = [
        shutil.which(EXPORTER), f"--web.listen-address=127.0.0.1:{exporter_port}",
        f"--extend.query-path={folder / 'queries.yaml'}",
    ]  # fmt: skip
    place = f"host={server.socket_folder} port={server.settings['port']} sslmode=disable"
    prometheus = [
        shutil.which("prometheus"), f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=1h", "--log.level=warn",
    ]  # fmt: skip
    with (
        program(exporter, folder / "exporter.log", DATA_SOURCE_NAME=f"user={user} dbname={database} {place}"),
        program(prometheus, folder / "prometheus.log"),
    ):
        watched = Watched(folder, exporter_port, port)
        try:
            wait_until(lambda: _answers(port))
            wait_until(lambda: watched.value('up{job="hypercube"}') == 1.0)
            yield watched
        except BaseException:
            for log in ("exporter.log", "prometheus.log"):
                print((folder / log).read_text(encoding="utf-8")[-3000:])
            raise


def _answers(port):
    try:
        return bool(fetched(port, "/-/ready"))
    except (urllib.error.URLError, OSError):
        return False
