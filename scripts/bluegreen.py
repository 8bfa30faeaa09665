"""Moves clients of a pooler between two clusters; scripts/bluegreen runs it as the server's user.

The other cluster is a physical standby of the live one.  What was begun is written down before it is done,
so that a command that was interrupted is run again, and ends what it began or takes it back.
"""

import configparser
import fcntl
import json
import shutil
import sys
import time
from pathlib import Path

from bluegreen_answers import differences, settings, unhealthy
from bluegreen_servers import SLOT, Cluster, Pooler, Refused, quoted, run, wait, write_whole

_SECONDS = 30
# Phases after which a move is not taken back.
_FORWARD = ("pointing", "turning")


def say(text):
    print(text, flush=True)


class BlueGreen:
    """Two clusters, the pooler, and what is known about them.

    The state, in a file: ``live`` and ``origin`` are names; ``other`` is what the other cluster is: none,
    building, following or apart; ``copy`` the folder that it was built in; ``move`` is what was begun, with
    ``to`` and the ``phase`` that comes next:

    * pausing: clients still have the old cluster
    * stopping: they wait; the old one is stopped, and the new one reads the last of its WAL
    * promoting: the old one is a standby from its next start on; the new one may have been promoted
    * pointing: from here on there is no way but forward: the new one gets the clients
    * turning: clients have the new one; the old one follows it
    * returning: instead, the old one gets the clients again
    """

    def __init__(self, path):
        told = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=None)
        told.optionxform = str
        try:
            told.read_string(Path(path).read_text(encoding="utf-8"))
            own = told["bluegreen"]
            folder = Path(own["state"])
            self.clusters = {
                name: Cluster(name, told[name], folder / f"{name}.log") for name in ("blue", "green")
            }
            self.pooler = Pooler(told["pooler"], told["databases"], self.clusters[own["live"]].programs)
            self.after = Path(own["after"]).read_text(encoding="utf-8") if "after" in own else None
        except (OSError, KeyError, ValueError, configparser.Error) as problem:
            raise Refused(f"{path} cannot be used ({problem}): see doc/examples/bluegreen.ini.") from None
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._lock = (folder / "lock").open("w")
        except OSError as problem:
            raise Refused(f"{folder} cannot be written ({problem.strerror}).") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Refused("another scripts/bluegreen is running.") from None
        self._file = folder / "state.json"
        self.state = {"live": own["live"], "origin": own["live"], "other": "none", "move": None}
        if self._file.exists():
            self.state = json.loads(self._file.read_text(encoding="utf-8"))

    def note(self, **changes):
        self.state |= changes
        write_whole(self._file, json.dumps(self.state) + "\n")

    def phase(self, phase):
        self.note(move=self.state["move"] | {"phase": phase})

    @property
    def live(self):
        return self.clusters[self.state["live"]]

    @property
    def other(self):
        return next(one for name, one in self.clusters.items() if name != self.state["live"])

    def require_live(self):
        """Refuse to go on from a state that is not the one of the clusters."""
        if self.state["move"]:
            raise Refused(f"{self._begun()}: run switch or rollback first.")
        if not self.live.is_running():
            raise Refused(f"{self.live.name} is live and does not run: start it.")
        if self.live.is_standby():
            raise Refused(f"{self.live.name} should be live and is a standby: somebody changed the clusters.")

    def require_following(self):
        if self.state["other"] != "following":
            raise Refused(f"{self.other.name} is not a standby of {self.live.name}: run prepare first.")
        if not self.other.is_running():
            self.other.start()
        wait(self.live.is_followed, _SECONDS, f"streaming from {self.live.name} to {self.other.name}")

    def _begun(self):
        move = self.state["move"]
        return f"the move to {move['to']} was interrupted before {move['phase']}"

    # Commands.

    def prepare(self):
        self.require_live()
        if self.state["other"] == "following":
            self.require_following()
            return say(f"{self.other.name} follows {self.live.name} already")
        live, other = self.live, self.other
        if other.is_running():
            raise Refused(f"{other.name} runs already: {other.data} is somebody's, name another folder.")
        # Of a copy that was interrupted what is there is ours, and only where it was begun.
        ours = self.state["other"] == "building" and self.state.get("copy") == str(other.data)
        if not ours and other.data.exists() and any(other.data.iterdir()):
            raise Refused(f"{other.data} is not empty: look what is in it, and remove that.")
        if live.ask("SELECT count(*) FROM pg_tablespace WHERE spcname !~ '^pg_'") != "0":
            raise Refused(
                "There are tablespaces, which cannot be in two places of one machine: make the other cluster"
                " with pg_basebackup --tablespace-mapping on another one, and switch by hand."
            )
        for one in (live, other):
            if not ((live.data / "postgresql.conf").exists() or "config_file=" in one.options):
                raise Refused(
                    f"The settings are not in {live.data}: give {one.name} a file of its own, with"
                    " options = -c config_file=... in its section."
                )
        other.data.parent.mkdir(parents=True, exist_ok=True)
        size = int(live.ask("SELECT sum(pg_database_size(oid)) FROM pg_database"))
        place = other.data if other.data.exists() else other.data.parent
        if size * 1.1 > shutil.disk_usage(place).free:
            raise Refused(f"{other.data} needs {size / 2**30:.1f} GiB, which are not free there.")
        self.note(other="building", origin=self.state["live"], copy=str(other.data))
        if other.data.exists():
            # It may be a disk, or in a folder where the server's user makes no other.
            for path in other.data.iterdir():
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            other.data.chmod(0o700)
        live.drop_slot()
        live.make_slot()
        say(f"copying {live.name}, {size / 2**20:.0f} MiB, to {other.data}")
        run(
            [other.programs / "pg_basebackup", "-d", live.conninfo("postgres"), "-D", other.data]
            + ["-X", "stream", "-S", SLOT, "-c", "fast"]
        )
        if other.include and (other.data / "postgresql.conf").exists():
            with (other.data / "postgresql.conf").open("a", encoding="utf-8") as file:
                file.write(f"\ninclude = {quoted(other.include)}\n")
        other.follow(live)
        other.start()
        self.note(other="following")
        self.require_following()
        say(f"{other.name} follows {live.name}")

    def check(self, verify=False):
        self.require_live()
        self.require_following()
        live, other = self.live, self.other
        self.pooler.require_at(live)
        ours, theirs = settings(live), settings(other)
        for name in sorted(ours.keys() | theirs.keys()):
            if ours.get(name) != theirs.get(name):
                told = ours.get(name, "default"), theirs.get(name, "default")
                say(f"{name} is {told[0]} in {live.name}, {told[1]} in {other.name}")
        for dbname in self.pooler.behind:
            red = unhealthy(other, dbname)
            if red:
                raise Refused(f"health() of {other.name} is red in {dbname}: {'; '.join(red)}")
            asked, differing = differences(live, other, dbname, verify)
            for question in differing[:10]:
                say(f"answers differ: {question}")
            if differing:
                raise Refused(f"{len(differing)} of {asked} answers of {other.name} in {dbname} differ.")
            say(f"{dbname}: health() is green, {asked} questions have equal answers")

    def switch(self):
        self._move(next(name for name in self.clusters if name != self.state["origin"]), checked=True)

    def rollback(self):
        self._move(self.state["origin"], checked=False)

    def retire(self):
        self.require_live()
        self.other.stop()
        wait(lambda: not self.live.is_followed(), _SECONDS, f"{self.other.name} leaving {self.live.name}")
        self.live.drop_slot()
        self.note(other="none", origin=self.state["live"])
        say(f"{self.live.name} is live and alone; {self.other.data} may be removed")

    def status(self):
        for cluster in (self.live, self.other):
            running = "runs" if cluster.is_running() else "does not run"
            kind = "live" if cluster is self.live else self.state["other"]
            say(f"{cluster.name}: {kind}, {running} ({cluster.data}, port {cluster.port})")
        if self.state["move"]:
            say(f"{self._begun()}: run switch or rollback")
        paused = self.pooler.paused()
        if paused:
            say(f"clients wait: {', '.join(sorted(paused))}")

    # A move.

    def _move(self, to, *, checked):
        move = self.state["move"]
        if move and move["phase"] != "returning" and (move["to"] == to or move["phase"] in _FORWARD):
            say(f"{self._begun()}: going on")
            self._carry_out()
        elif move:
            say(f"{self._begun()}: taking it back")
            self._take_back()
        if self.state["live"] == to:
            return say(f"{to} is live")
        self.check() if checked else (self.require_live(), self.require_following())
        self.note(move={"to": to, "phase": "pausing"})
        self._carry_out()
        say(f"{to} is live")

    def _carry_out(self):
        old, new = self.live, self.clusters[self.state["move"]["to"]]
        if self.state["move"]["phase"] == "turning":
            old, new = self.other, self.live
        try:
            if self.state["move"]["phase"] == "pausing":
                self._pause(old, new)
            if self.state["move"]["phase"] == "stopping":
                self._stop(old, new)
            if self.state["move"]["phase"] == "promoting":
                self._promote(new)
        except Refused as problem:
            say(f"{problem} Going back to {old.name}.")
            self._take_back()
            raise Refused(f"{old.name} is live as before.") from None
        if self.state["move"]["phase"] == "pointing":
            self.pooler.point_at(new)
            self.pooler.resume()
            self.pooler.require_at(new)
            self._say_pause()
            self.note(live=new.name, move=self.state["move"] | {"phase": "turning"})
        self._turn(old, new)

    def _pause(self, old, new):
        # Before anybody waits: what makes the wait short.
        new.make_slot()
        old.ask("CHECKPOINT", seconds=600)
        if self.pooler.paused():
            self.pooler.resume()
        self._paused_at = time.monotonic()
        self.pooler.pause()
        self.phase("stopping")

    def _stop(self, old, new):
        if self.pooler.databases.keys() - self.pooler.paused():
            self.pooler.pause()
        old.stop()
        position = old.stopped_at()
        wait(lambda: new.has_replayed(position), _SECONDS, f"the last of the WAL of {old.name} to {new.name}")
        # Whoever starts the old one from now on, it takes no more writes.
        old.follow(new)
        self.phase("promoting")

    def _promote(self, new):
        if new.is_standby():
            new.promote()
        if self.after and new.name != self.state["origin"]:
            for dbname in self.pooler.behind:
                # Statements of the administrator's own, with the search_path that he gave the database.
                new.ask(self.after, dbname, seconds=600, environment=None)
                red = unhealthy(new, dbname)
                if red:
                    raise Refused(f"health() of {new.name} is red in {dbname}: {'; '.join(red)}")
        self.phase("pointing")

    def _turn(self, old, new):
        old.stop() if old.is_running() and not old.is_standby() else None
        old.follow(new)
        old.start()
        self.note(other="following")
        wait(new.is_followed, _SECONDS, f"streaming from {new.name} to {old.name}")
        # Nobody reads from the standby: it would keep WAL for ever.
        old.drop_slot()
        self.note(move=None)

    def _take_back(self):
        """Give the clients the old cluster again; nothing was written into the new one."""
        old, new = self.live, self.clusters[self.state["move"]["to"]]
        follows = new.is_running()
        if self.state["move"]["phase"] in ("promoting", "returning"):
            # It may be becoming a primary just now; a stop ends that, or comes after it.
            new.stop()
        # Soon the old one is written to again: from here on there is no way forward.
        self.phase("returning")
        if not (new.data / "standby.signal").exists():
            # It has a timeline of its own: nothing can follow it, and it can follow nothing.
            self.note(other="apart")
        old.lead() if not old.is_running() else None
        if old.is_running() and old.is_standby():
            old.stop()
            old.lead()
        old.start()
        self.pooler.point_at(old)
        self.pooler.resume()
        self._say_pause()
        if self.state["other"] == "apart":
            say(f"{new.name} has to be built again: remove {new.data}, and run prepare")
        elif follows:
            new.start()
            new.drop_slot()
        self.note(move=None)

    def _say_pause(self):
        if hasattr(self, "_paused_at"):
            say(f"clients were held for {time.monotonic() - self._paused_at:.2f} s")


def main(task, path, *options):
    try:
        both = BlueGreen(path)
        if task != "status":
            for cluster in both.clusters.values():
                cluster.settle()
        getattr(both, task)(*([True] if options else []))
    except (Refused, OSError) as problem:
        sys.exit(f"bluegreen: {problem}")


if __name__ == "__main__":
    main(*sys.argv[1:])
