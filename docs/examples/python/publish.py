"""Publishes one mail to Sluice: publish.py BOOTSTRAP TOPIC RECIPIENT ID|none [framed]

"framed" puts the frame of Confluent's protobuf serializer before the message, as a client with a schema registry does.
"""
import sys
import time

import confluent_kafka

import message_pb2


def domain_key(address):
    """The recipient's domain in lower case as A-label. (The package "idna" knows the current IDNA rules better.)"""
    return address.rpartition("@")[2].encode("idna").decode("ascii").lower()


def build(recipient, message_id):
    message = message_pb2.Message(
        id=message_id,
        tenant="example",
        campaign="clients",
        mail_from="bounces@example.org",
        pool="pool-a",
        expires_ms=int(time.time() * 1000) + 3 * 24 * 3600 * 1000,
        dsn_envid="order 4711",
        metadata={"language": "python"},
    )
    setattr(message, "class", message_pb2.MESSAGE_CLASS_BULK)  # a reserved word here
    message.recipients.add(address=recipient, metadata={"name": "Jörg"})
    message.content = (
        "From: News <news@example.org>\r\n"
        f"To: {recipient}\r\n"
        "Subject: Hello from Python\r\n"
        "MIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "\r\n"
        "Grüße!\r\n"
    ).encode()
    return message


def main():
    bootstrap, topic, recipient, message_id = sys.argv[1:5]
    value = build(recipient, "" if message_id == "none" else message_id).SerializeToString()
    if sys.argv[5:] == ["framed"]:
        # Byte 0, schema id 1, message indexes [2]: Message is the third in the file (zigzag: count 1 is 2, index 2 is 4).
        value = b"\x00\x00\x00\x00\x01\x02\x04" + value

    producer = confluent_kafka.Producer({
        "bootstrap.servers": bootstrap,
        "acks": "all",
        "enable.idempotence": True,
        "compression.type": "lz4",
        "message.max.bytes": 27262976,
    })
    failures = []

    def delivered(error, record):
        if error is not None:
            failures.append(error)
            return
        print(f"{record.topic()}/{record.partition()}/{record.offset()}")

    producer.produce(topic, value, key=domain_key(recipient), callback=delivered)
    if producer.flush(60) > 0 or failures:
        sys.exit(f"not published: {failures}")


main()
