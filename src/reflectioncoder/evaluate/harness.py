"""Runs a solution and its tests inside the sandbox. Standard library only, run as a script there, never imported by the parent.

Reads and removes `tests.json` ({"tests": [...], "nonce"}), runs `solution.py`, then each test in the solution's namespace, and
writes one line per test to the descriptor RESULT_FD: nonce, a tab, JSON. A program that ends early leaves the last line out.
The nonce keeps accidents from counting as a pass; it does not stop an attacker in the same process.
"""

import json
import os
import sys


def describe(error):
    text = "".join(str(error).splitlines()[:1])[:400]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def main():
    fd = int(os.environ.pop("RESULT_FD"))
    os.set_inheritable(fd, False)
    with open("tests.json", encoding="utf-8") as handle:
        spec = json.load(handle)
    os.unlink("tests.json")

    def report(**row):
        os.write(fd, f"{spec['nonce']}\t{json.dumps(row)}\n".encode())

    with open("solution.py", encoding="utf-8", errors="surrogatepass") as handle:
        source = handle.read()
    namespace = {"__name__": "solution"}
    try:
        code = compile(source, "solution.py", "exec")
    except (SyntaxError, ValueError) as error:
        report(compile_error=describe(error))
        return
    try:
        exec(code, namespace)
    except BaseException as error:
        report(load_error=describe(error))
        return
    for number, test in enumerate(spec["tests"]):
        try:
            exec(compile(test, "test.py", "exec"), namespace)
        except BaseException as error:
            report(test=number, passed=False, detail=describe(error))
        else:
            report(test=number, passed=True, detail="")
    report(done=True)


main()
sys.stdout.flush()
os._exit(0)
