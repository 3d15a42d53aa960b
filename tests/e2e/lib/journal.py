"""The topic `done`, decoded here by hand (protobuf wire format, schemas/control.proto), so that the tests do not lean on the code that
they test."""
import struct
import subprocess

INTENT, DONE, CLOSED, LEFT = 1, 2, 3, 4
UNTRIED, DELIVERED, DEFERRED, BOUNCED, EXPIRED, DROPPED, UNCERTAIN = range(7)


def _fields(data):
    """(number, value) of each field; value: an integer, or bytes."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value
    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 2:
            size = varint()
            yield tag >> 3, data[at:at + size]
            at += size
        else:
            raise ValueError(f"wire type {tag & 7}")


def _numbers(data):
    """A packed repeated field, or one value of it."""
    if isinstance(data, int):
        return [data]
    values, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            values.append(value)
            value = shift = 0
    return values


def _outcome(data):
    outcome = {"recipients": [], "result": UNTRIED, "code": 0, "text": "", "due_ms": 0}
    for number, value in _fields(data):
        if number == 1:
            outcome["recipients"] += _numbers(value)
        elif number in (2, 3, 6):
            outcome[{2: "result", 3: "code", 6: "due_ms"}[number]] = value
        elif number == 5:
            outcome["text"] = value.decode(errors="replace")
    return outcome


def _entry(data, places):
    entry = {"kind": 0, "offset": 0, "turn": 0, "recipients": [], "outcomes": []}
    place = 0
    for number, value in _fields(data):
        if number == 2:
            place = value
        elif number in (1, 3, 5):
            entry[{1: "kind", 3: "offset", 5: "turn"}[number]] = value
        elif number == 6:
            entry["recipients"] += _numbers(value)
        elif number == 7:
            entry["outcomes"].append(_outcome(value))
    return {**places[place], **entry}


def _batch(data):
    entries, places, writer = [], [], ""
    for number, value in _fields(data):
        if number == 1:
            writer = value.decode()
        elif number == 2:
            place = dict(_fields(value))
            places.append({"topic": place[1].decode(), "partition": place.get(2, 0), "claim": place.get(3, 0)})
        elif number == 3:
            entries.append({"writer": writer, **_entry(value, places)})
    return entries


def read(bootstrap, topic):
    """All entries of all slots: kind, writer, topic, partition, claim, offset, turn, recipients, outcomes."""
    done = subprocess.run(["kcat", "-C", "-b", bootstrap, "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%R%s"], check=True,
                          stdin=subprocess.DEVNULL, capture_output=True)
    entries, at, data = [], 0, done.stdout
    while at < len(data):
        size, = struct.unpack_from(">i", data, at)
        entries += _batch(data[at + 4:at + 4 + size])
        at += 4 + size
    return entries
