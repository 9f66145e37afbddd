"""Hides passwords in URLs, for logs, messages and command lines."""

import re

MASK = "***"

_WEB = re.compile(r"(https?://[^\s/:@]*):[^\s/@]*@", re.IGNORECASE)
_STORE = re.compile(r"((?!https?:)\b[a-z][\w+.-]*://[^\s/:]*):\S*@", re.IGNORECASE)
_QUERY = re.compile(r"([?&](?:\w*password|passfile|sslkey)=)[^&\s]*", re.IGNORECASE)


def redact_passwords(text: str, mask: str = MASK) -> str:
    """Return a text without the passwords of the URLs in it.

    A store's password may contain `/`, `#` and `@` though it should be percent-encoded: everything
    up to the last `@` counts as the password. So do the values of `password=` and similar
    parameters.

    Args:
        text: A URL, or a text that contains URLs.
        mask: Replacement for the password; if empty, the colon is removed as well.
    """
    if "://" not in text:
        return text
    replacement = rf"\1:{mask}@" if mask else r"\1@"
    text = _STORE.sub(replacement, _WEB.sub(replacement, text))
    return _QUERY.sub(rf"\1{mask}", text)
