"""Runs release commands in children that end themselves at a given step, as a kill would.

One process imports everything once and forks for each command; it never makes a connection itself.
Lines on standard input are JSON: root, command, kill (name of a step, or null). Answers are JSON too: steps, exit.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

KILLED = 77


def call(context, command):
    from crossrec.serving.releases import commands
    from crossrec.serving.releases.collect import collect
    from crossrec.serving.releases.configure import configure
    from crossrec.serving.releases.reconcile import reconcile
    from tests.unit.serving.releases.serving_fleet import SET, release

    name, *arguments = command
    options = commands.Options(reason="a test", ignore_memory=True)
    if name == "canary":
        commands.canary(context, SET, release(arguments[0]), arguments[1], options)
    elif name == "promote":
        commands.promote(context, SET, release(arguments[0]), options)
    elif name == "rollback":
        commands.rollback(context, SET, release(arguments[0]) if arguments else None, options)
    elif name == "pin":
        commands.pin(context, SET, release(arguments[0]), options, loaded=True)
    elif name == "unpin":
        commands.pin(context, SET, release(arguments[0]), options, off=True)
    elif name == "gc":
        collect(context, 0, False)
    elif name == "configure":
        configure(context, {}, {}, {"requests": arguments[0]})
    else:
        reconcile(context)


def child(order, pipe):
    from crossrec.serving.releases.context import Context
    from crossrec.serving.releases.errors import ReleaseError

    steps = []

    def on_step(step):
        steps.append(step)
        if step == order["kill"]:
            os._exit(KILLED)

    error = ""
    try:
        call(Context.for_root(Path(order["root"]), actor="killed@desk", on_step=on_step), order["command"])
    except ReleaseError as failure:
        error = f"{type(failure).__name__}: {failure}"
    os.write(pipe, json.dumps({"steps": steps, "error": error}).encode())
    os._exit(0)


def main():
    import tests.unit.serving.releases.serving_fleet  # noqa: F401

    for line in sys.stdin:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            child(json.loads(line), writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            answer = json.loads(pipe.read() or "{}")
        answer["exit"] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps(answer), flush=True)


class Killer:
    """The process, from the tests' side."""

    def __enter__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()

    def run(self, root, command, kill=None):
        self.process.stdin.write(json.dumps({"root": str(root), "command": command, "kill": kill}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


if __name__ == "__main__":
    main()
