"""The program of one training process (rank), started by `launch`.

    python -m reflectioncoder.train.worker JOB_FILE

It kills its process group when its standard input closes, because then its parent is gone.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from reflectioncoder.crash import in_a_line, trace_of, without_secrets
from reflectioncoder.data.files import read_json, write_json
from reflectioncoder.errors import EXIT_DONE, StoppedError, exit_code_of, explained
from reflectioncoder.models.load import quiet_libraries
from reflectioncoder.progress import Reporter, reporting
from reflectioncoder.stopping import SigtermFlag
from reflectioncoder.train.job import TrainingJob
from reflectioncoder.train.launch import error_file
from reflectioncoder.train.sharding import leave


def main(job_file: Path) -> int:
    """Train as one rank and return the exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    quiet_libraries()
    try:
        with reporting(Reporter()):
            TrainingJob.from_json(read_json(job_file)).train(SigtermFlag())
        return EXIT_DONE
    except StoppedError as error:
        _wait_for_everyone()  # the first rank may still be writing and would be killed
        return _failed(error, job_file.parent)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 (the last place: everything becomes a message and an exit code)
        return _failed(error, job_file.parent)


def _failed(error: BaseException, logs: Path) -> int:
    """Record the error's message beside the log, and for a bug the traceback; the parent decides which rank's error it shows."""
    if isinstance(error, KeyboardInterrupt):
        return exit_code_of(error)
    message, trace = explained(error), ""
    if message is None:
        message, trace = in_a_line(error), trace_of(error)
    write_json(error_file(logs, int(os.environ["RANK"])), {"message": without_secrets(message), "traceback": trace})
    return exit_code_of(error)


def _wait_for_everyone() -> None:
    from accelerate import PartialState

    PartialState().wait_for_everyone()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    leave(main(Path(sys.argv[1])))
