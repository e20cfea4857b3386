"""A terminal: runs a program in a pseudo-terminal, keeps the screen as people would see it, and does
what it is told by lines of JSON on its standard input. Each that went well is answered with `done N`; one
that does not within the patience of specs ends it with what was on the screen.

    terminal.py COLUMNS LINES PROGRAM ARGUMENT...

    {"see": [TEXT...]}      all of them come to stand on the screen
    {"match": PATTERN}      something on the screen is like it
    {"gone": [TEXT...]}     none of them is there any more
    {"keys": TEXT}          is typed
    {"size": [COLUMNS, LINES]}
    {"signal": NUMBER}      is sent to the program
    {"ends": CODE}          the program ends so, and the terminal is as it was
"""

import codecs
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

PATIENCE = 110
SEQUENCE = re.compile(r"\x1b(?:\[([0-?]*)[ -/]*([@-~])|([@-Z\\-_=>]))")


class Screen:
    def __init__(self, columns, lines):
        self.modes = set()
        self.rest = ""
        self.resize(columns, lines)

    def resize(self, columns, lines):
        self.columns, self.lines = columns, lines
        self.x = self.y = 0
        self.cells = [[" "] * columns for _ in range(lines)]

    def text(self):
        return "\n".join("".join(line).rstrip() for line in self.cells)

    def feed(self, text):
        text, self.rest = self.rest + text, ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = SEQUENCE.match(text, at)
                if found is None:
                    self.rest = text[at:]  # the end of it has not come yet
                    return
                self.command(found.group(1) or "", found.group(2))
                at = found.end()
                continue
            self.put(text[at])
            at += 1

    def put(self, letter):
        if letter == "\r":
            self.x = 0
        elif letter == "\n":
            self.y = min(self.y + 1, self.lines - 1)
        elif letter >= " ":
            if self.x < self.columns:
                self.cells[self.y][self.x] = letter
            self.x += 1

    def command(self, parameters, final):
        if parameters.startswith("?"):
            for mode in parameters[1:].split(";"):
                (self.modes.add if final == "h" else self.modes.discard)(mode)
            return
        numbers = [int(number or 0) for number in parameters.split(";") if number.isdigit() or not number]
        first = numbers[0] if numbers else 0
        if final == "H":
            column = numbers[1] if len(numbers) > 1 else 1
            self.y = min(max(first, 1), self.lines) - 1
            self.x = max(column, 1) - 1
        elif final == "J":
            self.cells = [[" "] * self.columns for _ in range(self.lines)]


class Terminal:
    def __init__(self, columns, lines, program):
        self.screen = Screen(columns, lines)
        self.letters = codecs.getincrementaldecoder("utf-8")("replace")
        self.all = ""
        self.ours, theirs = pty.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(theirs)
        self.theirs = theirs
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)
            for descriptor in range(3):
                os.dup2(theirs, descriptor)
            os.execvp(program[0], program)

    def resize(self, columns, lines):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(columns, lines)

    def read(self, wait):
        """Takes what the program has written; whether there was something."""
        if not select.select([self.ours], [], [], wait)[0]:
            return False
        text = self.letters.decode(os.read(self.ours, 65536))
        self.all += text
        self.screen.feed(text)
        return True

    def until(self, what, holds):
        end = time.monotonic() + PATIENCE
        while not holds():
            if time.monotonic() > end:
                sys.exit(f"{what}: not within {PATIENCE} s; the screen:\n{self.screen.text()}")
            self.read(0.05)

    def do(self, order):
        (verb, value), = order.items()
        if verb == "see":
            self.until(order, lambda: all(text in self.screen.text() for text in value))
        elif verb == "match":
            self.until(order, lambda: re.search(value, self.screen.text()))
        elif verb == "gone":
            self.until(order, lambda: not any(text in self.screen.text() for text in value))
        elif verb == "keys":
            os.write(self.ours, value.encode())
        elif verb == "size":
            # The kernel sends SIGWINCH: a second one of ours could come together with the next key,
            # which a program may lose then (crossterm does).
            self.resize(*value)
        elif verb == "signal":
            os.kill(self.pid, value)
        elif verb == "ends":
            self.ends(value)

    def ends(self, code):
        ended = []

        def has_ended():
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                ended.append(os.waitstatus_to_exitcode(status))
            return bool(ended)

        self.until("the end", has_ended)
        while self.read(0):
            pass
        if ended[0] != code:
            sys.exit(f"it ended with {ended[0]}: {self.all[-2000:]!r}")
        if termios.tcgetattr(self.theirs) != self.before:
            sys.exit("the terminal is not as it was")
        if "1049" in self.screen.modes:
            sys.exit("the other screen is still there")
        if "\x1b[?25l" in self.all and "25" not in self.screen.modes:
            sys.exit("the cursor is hidden")


def main():
    columns, lines, *program = sys.argv[1:]
    terminal = Terminal(int(columns), int(lines), program)
    number = 0
    # What the program draws is taken while nothing is asked, or it would wait for room.
    orders = b""
    while True:
        ready = select.select([0, terminal.ours], [], [])[0]
        if terminal.ours in ready:
            try:
                terminal.read(0)
            except OSError:
                sys.exit("the terminal is gone")
        if 0 not in ready:
            continue
        more = os.read(0, 65536)
        if not more:
            break
        *whole, orders = (orders + more).split(b"\n")
        for order in whole:
            number += 1
            terminal.do(json.loads(order))
            print(f"done {number}", flush=True)
    try:
        os.kill(terminal.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


main()
