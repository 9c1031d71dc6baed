"""Runs a command on a terminal of its own and types a password whenever it is asked for one:
`typed.py PASSWORD COMMAND...`. Ends as the command did.
"""

import os
import pty
import sys

password, command = sys.argv[1], sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    os.execvp(command[0], command)
line = b""
while True:
    try:
        output = os.read(terminal, 4096)
    except OSError:  # The terminal of a process that has ended.
        break
    if not output:
        break
    os.write(1, output)
    line = (line + output).rsplit(b"\n", 1)[-1]
    if b"assword" in line and line.rstrip().endswith(b":"):
        os.write(terminal, password.encode() + b"\n")
        line = b""
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
