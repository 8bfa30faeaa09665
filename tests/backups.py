"""A throwaway server that is backed up with the scripts, as a person would run them."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from rows import MODELS, ingest
from servers import ThrowawayServer, as_server_user, program_folder, server_user
from small_models import vectors, words, write_model

ROOT = Path(__file__).parents[1]


class BackedUp:
    """A server with a repository beside it; `ready` makes the two known to each other."""

    def __init__(self, *, keep=2, **settings):
        self.folder, base = new_folder("hypercube-backup-"), new_folder("hypercube-")
        # Segments that are kept to be used again only cost time here.
        settings = {"min_wal_size": "32MB", "max_wal_size": "64MB", "base_dir": str(base)} | settings
        self.server = ThrowawayServer(**settings)
        self.data = self.server.data_folder
        self.repository = self.folder / "repository"
        self.config = self.folder / "pgbackrest.conf"
        self._keep = keep

    def run(self, script, *arguments, config=None, check=True, **environment):
        """Run one of the scripts and return it as it ended; its output is one text."""
        done = subprocess.run(
            [ROOT / "scripts" / script, *map(str, arguments), "--config", str(config or self.config)],
            env=os.environ | {"PGUSER": "postgres"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert not check or done.returncode == 0, done.stdout
        return done

    def refusal(self, script, *arguments, **options):
        """Run a script that refuses, and return what it says."""
        done = self.run(script, *arguments, check=False, **options)
        assert done.returncode == 1, done.stdout
        assert "Traceback" not in done.stdout, done.stdout
        return done.stdout

    def setup(self, **options):
        """Run scripts/backup-setup."""
        return self.run(
            "backup-setup", "--data", self.data, "--repository", self.repository,
            "--log", self.folder / "log", "--keep", self._keep, **options,
        )  # fmt: skip

    def ready(self):
        """Set up, restart, set up again: after that backups can be made."""
        first = self.setup(check=False)
        assert first.returncode == 1 and "restart the server" in first.stdout, first.stdout
        self.server.restart()
        assert "ready: stanza main" in self.setup().stdout

    def backup(self, *arguments):
        """Run scripts/backup and return the label of what it made."""
        return self.run("backup", *arguments).stdout.split(":")[0]

    def pgbackrest(self, *arguments, check=True):
        """Run pgBackRest itself as the server's user."""
        command = ["pgbackrest", f"--config={self.config}", "--stanza=main", *arguments]
        done = subprocess.run(as_server_user(command), stdout=subprocess.PIPE, text=True)
        assert not check or done.returncode == 0
        return done

    def control(self, *arguments, folder=None):
        """Run pg_ctl on the data folder: a restored server is no child of ours."""
        folder = folder or self.data
        command = [program_folder() / "pg_ctl", "-D", folder, "-w", *arguments]
        if "start" in arguments:
            command += ["-l", folder / "started.log"]
        return subprocess.run(as_server_user(command), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def stop(self, mode="fast"):
        """Stop the server, whoever started it."""
        self.control("-m", mode, "stop")

    def kill(self):
        """Kill the postmaster, and no other process of the server."""
        pid = int((self.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        # One that we started ourselves is there until somebody asks.
        wait_until(lambda: self.server.pid != pid or self.server.child_process.poll() is not None)
        wait_until(lambda: not Path(f"/proc/{pid}").exists())

    def close(self):
        """Stop what runs and remove everything."""
        self.stop("immediate")
        self.server.stop()
        shutil.rmtree(self.folder)
        shutil.rmtree(self.server.base_dir)


def new_folder(prefix):
    """Make a folder of the server's user; in memory where there is room, as pgBackRest syncs every file."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=memory if roomy else "/tmp"))
    shutil.chown(folder, server_user().pw_uid, server_user().pw_gid)
    os.chmod(folder, 0o755)
    return folder


def wait_until(true, seconds=30):
    """Wait until something is true."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.02)


@pytest.fixture(scope="session")
def backed():
    """A server with a real model, three small ones, texts, rights and two backups, for all drills."""
    with closing(BackedUp()) as made:
        sources = made.folder / "sources"
        sources.mkdir()
        os.chmod(sources, 0o755)
        with made.server.connect(autocommit=True) as db:
            db.execute("CREATE EXTENSION hypercube CASCADE")
            for folder in (sources, MODELS):
                db.execute("SELECT hypercube.allow_source(%s)", (str(folder),))
            ingest(db, str(MODELS / "glassllm"), "glassllm")
            for number, name in enumerate(("m", "other")):
                ingest(db, write_model(sources / name, vectors(150, seed=number)), neighbors=8)
            bare = write_model(sources / "bare", vectors(60))
            db.execute("SELECT FROM hypercube.ingest(%s, store => 'none')", (bare,))
            w = words(30)
            texts = [f"{' '.join(w[at : at + 5])}. {' '.join(w[at + 2 : at + 7])}." for at in range(0, 20, 4)]
            names = [f"text {number}" for number in range(len(texts))]
            db.execute("SELECT hypercube.ingest_texts(%s::text[], %s::text[], 'm')", (names, texts))
            db.execute("CREATE ROLE ann LOGIN IN ROLE hypercube_ingest")
            db.execute("SELECT hypercube.grant_model('other', 'ann')")
            db.execute("SELECT hypercube.set_limit('ann', 'k', 5)")
        made.ready()
        made.backup("full")
        made.backup("diff")
        yield made
