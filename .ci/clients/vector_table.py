"""tshark reads the vector table: what Wharf must answer byte by byte, and does, as `wharf-tests` shows.

The example `vectors` of that package prints the table; each vector becomes a connection of a capture.
"""

import os
import subprocess

from capture import FROM_SERVER, PORT, TO_SERVER, Capture
from captured import malformed
from harness import run_all, same, scenario


class Table:
    """The table as a capture, and what tshark makes of it."""

    def __init__(self, _):
        said = subprocess.run([os.environ["WHARF_VECTORS"]], stdout=subprocess.PIPE, text=True, check=True).stdout
        self.capture, self.replies, vector = Capture(), [], -1
        for line in said.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "vector":
                vector += 1
            else:
                direction = TO_SERVER if kind == ">" else FROM_SERVER
                self.capture.add(vector, direction, bytes.fromhex(rest))
                if direction == FROM_SERVER:
                    self.replies += _frames(bytes.fromhex(rest))
        self.rows = [row for row in self.capture.rows() if row["tcp.srcport"] == [str(PORT)]]


def _frames(data):
    while data:
        size = 6 + int.from_bytes(data[4:6], "big")
        yield data[:size]
        data = data[size:]


@scenario
def no_reply_of_the_vector_table_is_malformed(table):
    same(malformed(table.capture, table.rows), None)


@scenario
def every_reply_of_the_vector_table_is_decoded_as_what_it_is(table):
    same(len(table.rows), len(table.replies), "replies")
    for row, frame in zip(table.rows, table.replies):
        function = frame[7]
        expected = {"mbtcp.trans_id": int.from_bytes(frame[:2], "big"), "mbtcp.prot_id": 0, "mbtcp.len": len(frame) - 6,
                    "mbtcp.unit_id": frame[6], "modbus.func_code": function & 0x7F}
        if function & 0x80:
            expected["modbus.exception_code"] = frame[8]
        got = {field: int(row[field][0], 0) for field in expected if row[field]}
        same(got, expected, f"reply {frame.hex(' ')}")


run_all(Table)
