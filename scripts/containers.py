"""Follows docker/Dockerfile without an engine: every stage is a folder that commands run in with chroot.

Knows the instructions that the file uses and stops at any other.  What a folder cannot show is left out:
volumes, ports and limits are the engine's.
"""

import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PASSWORD = "of this test alone"
# Of an image that only runs a server.
TOOLS_LEFT_BEHIND = ("make", "pip", "pip3", "gcc", "cc")
SECONDS = 180
PORT = "54329"
SCRIPTS = "/opt/hypercube/scripts"
CONFIG = ("--config", "/var/lib/postgresql/data/pgbackrest.conf")


class Stage:
    """What an image is: a folder, and how its commands run."""

    def __init__(self, folder):
        self.folder = folder
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        self.user, self.place = "0:0", "/"
        self.entry, self.command, self.health = [], [], []

    def started(self, command, **more):
        """Return the command line that runs a command in the folder."""
        home = {} if self.user == "0:0" else {"HOME": "/var/lib/postgresql"}
        environment = self.environment | home | more
        words = [
            "/usr/bin/env",
            f"--chdir={self.place}",
            *(f"{name}={value}" for name, value in environment.items()),
        ]
        return [ROOT / "scripts" / "inside", "--user", self.user, self.folder, *words, *command]

    def run(self, command, **more):
        """Run a command in the folder; stop if it fails."""
        subprocess.run(self.started(command, **more), check=True)


def instructions(text):
    """Return (word, rest) of each instruction; continued lines are joined, comments left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def copy(sources, target, stage):
    """Do what COPY does: the contents of a folder, or files into one."""
    into = stage.folder / str(Path(stage.place, target)).lstrip("/")
    for source in sources:
        if source.is_dir():
            subprocess.run(["cp", "-a", f"{source}/.", into if into.is_dir() else make(into)], check=True)
        else:
            # A folder is named by a slash or by more than one source.
            path = into / source.name if target.endswith("/") or target == "." or into.is_dir() else into
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, path)


def make(folder):
    """Make a folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build(work, context):
    """Follow the file; return its stages by name, the last one under its own name "image"."""
    stages, stage = {}, None
    for word, rest in instructions((ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")):
        print(f"{word} {' '.join(rest.split())}", flush=True)
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stage = stages[name or "image"] = Stage(work / (name or "image"))
            shutil.rmtree(stage.folder, ignore_errors=True)
            subprocess.run(["cp", "-a", "--reflink=auto", work / base, stage.folder], check=True)
        elif word == "RUN":
            stage.run(["/bin/sh", "-c", rest])
        elif word == "COPY":
            *sources, target = rest.split()
            origin = context
            if sources[0].startswith("--from="):
                origin = stages[sources.pop(0).removeprefix("--from=")].folder
            copy([origin / source.lstrip("/") for source in sources], target, stage)
        elif word == "WORKDIR":
            stage.place = rest
            make(stage.folder / rest.lstrip("/"))
        elif word == "ENV":
            stage.environment |= dict(pair.split("=", 1) for pair in rest.split())
        elif word == "USER":
            stage.user = rest
        elif word == "HEALTHCHECK":
            stage.health = json.loads(rest.partition(" CMD ")[2])
        elif word == "ENTRYPOINT":
            stage.entry = json.loads(rest)
        elif word == "CMD":
            stage.command = json.loads(rest)
        elif word not in ("EXPOSE", "VOLUME", "STOPSIGNAL"):
            sys.exit(f"containers: {word} is not followed here")
    return stages


def is_healthy(image):
    """Run the health check once."""
    done = subprocess.run(
        image.started([*image.health], PGPORT=PORT), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return done.returncode == 0


def write_model(folder):
    """Write a model of twenty words, to try an ingest: its tokenizer is read by a process of its own."""
    pieces = ["[UNK]", *(f"w{chr(97 + number)}" for number in range(19))]
    table = [math.sin(1 + row * (column + 1)) for row in range(20) for column in range(8)]
    data = struct.pack(f"<{len(table)}f", *table)
    tensor = {"dtype": "F32", "shape": [20, 8], "data_offsets": [0, len(data)]}
    header = json.dumps({"embeddings.word_embeddings.weight": tensor}).encode()
    make(folder)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    (folder / "config.json").write_text('{"model_type": "bert"}')


def try_first(image):
    """Ingest a model; begin to set up backups, which asks for a restart."""
    write_model(image.folder / "srv/models/small")
    psql = ["psql", "-d", "hypercube", "-v", "ON_ERROR_STOP=1"]
    image.run([*psql, "-c", "SELECT hypercube.allow_source('/srv/models')"], PGPORT=PORT)
    image.run([*psql, "-c", "SELECT FROM hypercube.ingest('/srv/models/small')"], PGPORT=PORT)
    image.run([*psql, "-c", "SELECT * FROM hypercube.health()"], PGPORT=PORT)
    subprocess.run(image.started([f"{SCRIPTS}/backup-setup", *CONFIG]), check=False)


def try_backups(image):
    """Make a backup and restore it beside the server."""
    image.run([f"{SCRIPTS}/backup-setup", *CONFIG])
    image.run([f"{SCRIPTS}/backup", "full", *CONFIG])
    image.run([f"{SCRIPTS}/backup-verify", *CONFIG])


def serve(image, trials):
    """Start the image as an engine would, wait until it is healthy, ask, try more, and stop it."""
    image.place = "/"
    server = subprocess.Popen(image.started([*image.entry, *image.command], PGPORT=PORT))
    try:
        end = time.monotonic() + SECONDS
        while not is_healthy(image):
            if server.poll() is not None or time.monotonic() > end:
                sys.exit("containers: the image did not become healthy")
            time.sleep(1)
        query = "SELECT 'hypercube ' || extversion FROM pg_extension WHERE extname = 'hypercube'"
        login = ["psql", "-h", "127.0.0.1", "-U", "postgres", "-d", "hypercube", "-Atc", query]
        image.run(login, PGPORT=PORT, PGPASSWORD=PASSWORD)
        if (
            subprocess.run(
                image.started(login, PGPORT=PORT, PGPASSWORD="wrong"), stderr=subprocess.DEVNULL
            ).returncode
            == 0
        ):
            sys.exit("containers: a wrong password was taken")
        trials(image)
    finally:
        stop(server)


def children(pid):
    """Return the numbers of the processes that a process has started."""
    try:
        return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except FileNotFoundError:
        return []


def stop(inside, seconds=60):
    """Tell the server to end, as an engine does: below `inside` is a shell, which waits for it."""
    for shell in children(inside.pid):
        for server in children(shell):
            os.kill(server, signal.SIGINT)
    try:
        inside.wait(seconds)
    finally:
        # Whatever is left in there ends with it.
        inside.kill()


def main(work):
    context = work / "context"
    shutil.rmtree(context, ignore_errors=True)
    make(context)
    archive = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "archive", "HEAD"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    subprocess.run(["tar", "-x", "-C", context], input=archive.stdout, check=True)
    image = build(work, context)["image"]
    if left := [name for name in TOOLS_LEFT_BEHIND if shutil.which(name, path=f"{image.folder}/usr/bin")]:
        sys.exit(f"containers: the image has {', '.join(left)}")

    started = subprocess.run(
        image.started([*image.entry, *image.command], PGPORT=PORT), capture_output=True, text=True
    )
    if started.returncode == 0 or "no password" not in started.stderr:
        sys.exit("containers: a cluster was made without a password")
    secret = image.folder / "run/secrets/postgres_password"
    make(secret.parent)
    secret.write_text(PASSWORD)
    os.chown(secret, *map(int, image.user.split(":")))
    serve(image, try_first)
    secret.unlink()
    serve(image, try_backups)
    print("the image was built, became healthy, asked for the password, ingested, restarted, was backed up")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main(Path(sys.argv[1]))
