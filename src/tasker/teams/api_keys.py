"""API keys as text: `tsk_<prefix>_<secret>`. Pure.

The prefix is public: it identifies the key in listings, logs and look-ups. The secret is 256 random
bits; a store keeps only its SHA-256. Slow hashes protect secrets that people choose, because those
can be guessed. 256 random bits cannot be guessed, so a fast hash is as safe here and does not slow
down requests.
"""

import hmac
import re
import secrets
from hashlib import sha256
from typing import NamedTuple

_KEY = re.compile(r"tsk_([0-9a-f]{12})_([0-9a-f]{64})")


class GeneratedKey(NamedTuple):
    """A newly created key. Its text is shown once and never stored."""

    text: str
    prefix: str
    digest: str  #: for `NewApiKey`


class KeyParts(NamedTuple):
    """The parts of a key's text."""

    prefix: str
    secret: str


def generate_key() -> GeneratedKey:
    """Create a key from the system's source of randomness."""
    prefix, secret = secrets.token_hex(6), secrets.token_hex(32)
    return GeneratedKey(f"tsk_{prefix}_{secret}", prefix, digest_secret(secret))


def parse_key(text: str) -> KeyParts | None:
    """Split a key's text into its parts; None if it is malformed."""
    match = _KEY.fullmatch(text)
    return None if match is None else KeyParts(match[1], match[2])


def digest_secret(secret: str) -> str:
    """Return the SHA-256 of a secret in hexadecimal, as stored."""
    return sha256(secret.encode()).hexdigest()


def verify_secret(secret: str, digest: str) -> bool:
    """Return whether a secret matches a digest, in constant time."""
    return hmac.compare_digest(digest_secret(secret), digest)
