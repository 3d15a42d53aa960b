"""Signed return paths and their facts, made from their description in lib/mail/verp.h and lib/schema/facts.h without our C code: what
the bouncer reads is what is described there, not only what the worker happens to write."""
import base64
import hashlib
import hmac
import struct
import time
import uuid

MASK = (1 << 64) - 1
STABLE = (0x736C756963650001, 0x7374617274757001)
RETURN_PATH, UNSUBSCRIBE = 0, 1
EPOCH = 1577836800  # 2020-01-01


def _rotate(x, bits):
    return ((x << bits) | (x >> (64 - bits))) & MASK


def _round(v):
    v[0] = (v[0] + v[1]) & MASK
    v[2] = (v[2] + v[3]) & MASK
    v[1] = _rotate(v[1], 13) ^ v[0]
    v[3] = _rotate(v[3], 16) ^ v[2]
    v[0] = _rotate(v[0], 32)
    v[2] = (v[2] + v[1]) & MASK
    v[0] = (v[0] + v[3]) & MASK
    v[1] = _rotate(v[1], 17) ^ v[2]
    v[3] = _rotate(v[3], 21) ^ v[0]
    v[2] = _rotate(v[2], 32)


def siphash(data, key=STABLE):
    """SipHash-2-4."""
    v = [key[0] ^ 0x736F6D6570736575, key[1] ^ 0x646F72616E646F6D, key[0] ^ 0x6C7967656E657261, key[1] ^ 0x7465646279746573]
    padded = data + b"\0" * (7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        _round(v)
        _round(v)
        v[0] ^= word
    v[2] ^= 0xFF
    for _ in range(4):
        _round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _text(number, value):
    data = value.encode()
    assert len(data) < 128 and number < 128
    tag = number << 3 | 2
    return (bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])) + bytes([len(data)]) + data


class Facts:
    """Tenant, campaign, class, stream, VIP and list; `key` and `value` are the record's on the topic facts. `keep` in seconds."""

    def __init__(self, tenant, campaign, stream="bulk", vip="v1", klass="bulk", mailing_list="", keep=None):
        parts = (tenant, campaign, klass, stream, vip) + ((mailing_list,) if mailing_list else ())
        self.hash = siphash(b"".join(struct.pack("<Q", siphash(part.encode())) for part in parts))
        self.key = f"{self.hash:016x}"
        self.value = _text(6, tenant) + _text(7, campaign) + _text(8, klass) + _text(11, vip) + _text(14, stream)
        for name, text in (("list", mailing_list), ("keep", "" if keep is None else str(keep))):
            if text:
                entry = _text(1, name) + _text(2, text)
                self.value += bytes([12 << 3 | 2, len(entry)]) + entry
        self.number = self.hash & 0xFFFFFFFF


class Signer:
    def __init__(self, secret, key_id=0):
        self.secret, self.key_id = secret.encode(), key_id

    def local_part(self, message_id, recipient, facts, organisation="", sent=None, purpose=RETURN_PATH):
        """`organisation` that the mail was sent to (example.net of mx1.example.net); `sent` in seconds since 1970."""
        seconds = int((time.time() if sent is None else sent) - EPOCH) & ((1 << 30) - 1)
        bits = (seconds << 42 | (siphash(recipient.lower().encode()) & ((1 << 28) - 1)) << 14
                | (siphash(organisation.lower().encode()) & ((1 << 14) - 1)))
        token = bytes([1 << 6 | purpose << 4 | self.key_id]) + uuid.UUID(message_id).bytes + bits.to_bytes(9, "big")
        token += (facts.number if facts else 0).to_bytes(4, "big")
        mac = hmac.new(self.secret, token, hashlib.sha256).digest()[:10]
        return base64.b32encode(token + mac).decode().lower()
