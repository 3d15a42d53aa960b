"""Records for the queue topics, encoded here by hand (protobuf wire format, schemas/message.proto), so that the tests do not lean on
the code that they test; and kcat to write and read them with headers."""
import json
import os
import subprocess
import tempfile

TRANSACTIONAL = 1
BULK = 2


def _varint(value):
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _bytes(number, value):
    return _varint(number << 3 | 2) + _varint(len(value)) + value if value else b""


def _text(number, value):
    return _bytes(number, value.encode())


def _number(number, value):
    return _varint(number << 3) + _varint(value) if value else b""


def message(recipients, content, *, message_id="", tenant="demo", campaign="", mail_from="bounces@sender.test", pool="",
            not_before_ms=0, expires_ms=0, klass=0, smtputf8=False):
    """A sluice.v1.Message."""
    return (_text(1, message_id) + _text(2, tenant) + _text(3, campaign) + _text(4, mail_from)
            + b"".join(_bytes(5, _text(1, recipient)) for recipient in recipients)
            + _bytes(6, content) + _text(7, pool) + _number(8, not_before_ms) + _number(9, expires_ms)
            + _number(12, int(smtputf8)) + _number(16, klass))


def produce(bootstrap, topic, values, key=None, partition=None):
    """Writes the values (bytes, none of them empty) as records, each acknowledged, in this order when the partition is given."""
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i, value in enumerate(values):
            files.append(os.path.join(folder, f"{i:06}"))
            with open(files[-1], "wb") as file:
                file.write(value)
        argv = ["kcat", "-P", "-b", bootstrap, "-t", topic, "-X", "acks=all", "-X", "message.max.bytes=28311552"]
        argv += ["-k", key] if key else []
        argv += ["-p", str(partition)] if partition is not None else []
        subprocess.run([*argv, *files], check=True, stdin=subprocess.DEVNULL, capture_output=True)


def produce_null(bootstrap, topic, partition):
    """A record without a value."""
    subprocess.run(["kcat", "-P", "-b", bootstrap, "-t", topic, "-p", str(partition), "-Z", "-K", ":"], check=True, input=b"key:\n",
                   capture_output=True)


def read_topic(bootstrap, topic):
    """All records of a topic as dicts of kcat's: partition, offset, key, headers, payload."""
    done = subprocess.run(["kcat", "-C", "-b", bootstrap, "-t", topic, "-o", "beginning", "-e", "-q", "-J"], check=True,
                          stdin=subprocess.DEVNULL, capture_output=True)
    records = []
    for line in done.stdout.decode("utf-8", errors="replace").split("\n"):
        if not line:
            continue
        record = json.loads(line, strict=False)
        flat = record.get("headers") or []
        record["headers"] = dict(zip(flat[::2], flat[1::2]))
        records.append(record)
    return records
