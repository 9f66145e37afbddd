"""Settings of [auth]: what fits together, and what keeps a server from starting."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError
from tests.api.auth.scene import AUDIENCE, ISSUER, ec_key, private_pem, public_pem, rsa_key

from tasker.api import create_app
from tasker.errors import InvalidSettings
from tasker.settings import AuthSettings, load_settings

JWKS = "https://id.growthcorp.test/jwks.json"
TOKENS: dict[str, Any] = {"enabled": True, "issuer": ISSUER, "audience": AUDIENCE}


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Begin without a file, and without variables."""
    for name in ("TASKER_CONFIG", "TASKER_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_authentication_is_off_by_default() -> None:
    """Settings of tokens are refused then, because their author expects tokens to be checked."""
    assert not AuthSettings().enabled
    with pytest.raises(ValidationError, match="enabled must be set"):
        AuthSettings(jwks_url=JWKS, issuer=ISSUER, audience=AUDIENCE)
    assert not AuthSettings(enabled=False, jwks_url=JWKS, issuer=ISSUER, audience=AUDIENCE).enabled


def test_authentication_is_set_by_file_and_environment(
    no_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment overrides the file."""
    file = no_settings / "tasker.toml"
    file.write_text(
        f"""
        [auth]
        enabled = true
        jwks_url = "{JWKS}"
        issuer = "{ISSUER}"
        audience = "{AUDIENCE}"
        algorithms = ["ES256"]
        default_roles = ["viewer"]
        cache = "1s"

        [auth.claims]
        roles = "realm_access.roles"

        [auth.roles]
        releaser = ["templates:*", "tasks:read"]
        """
    )
    auth = load_settings().auth
    assert (True, ("ES256",), "realm_access.roles", "sub") == (
        auth.enabled,
        auth.algorithms,
        auth.claims.roles,
        auth.claims.subject,
    )
    create_app("sqlite::memory:", auth=auth)

    monkeypatch.setenv("TASKER_AUTH__ENABLED", "false")
    assert False is load_settings().auth.enabled
    monkeypatch.delenv("TASKER_AUTH__ENABLED")
    file.write_text('[auth]\nissuer = "x"\n')
    with pytest.raises(InvalidSettings, match="enabled must be set"):
        load_settings()
    file.write_text("[auth]\nenabled = true\njwks_uri = 'x'\n")
    with pytest.raises(InvalidSettings, match=r"jwks_uri.*did you mean 'jwks_url'"):
        load_settings()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"jwks_url": JWKS, "jwt_public_key": "x"}, "only one of"),
        ({"jwks_url": JWKS, "audience": None}, "issuer and audience must be set"),
        ({"jwks_url": JWKS, "issuer": ""}, "issuer and audience must be set"),
        ({"audience": None}, "issuer and audience must be set"),
        ({"issuer": "growthcorp"}, "issuer must be a URL"),
        ({"issuer": "http://id.growthcorp.test/"}, "issuer must use https"),
        ({"issuer": None, "audience": None, "api_keys": False}, "no credential would be accepted"),
        ({"jwks_url": "http://id.growthcorp.test/"}, "must use https"),
        ({"jwks_url": "http://localhost.evil.test/"}, "must use https"),
        ({"jwks_url": "file:///etc/passwd"}, "must be a URL"),
        ({"jwks_url": "jwks.json"}, "must be a URL"),
        ({"jwks_url": "https://me:secret@id.test/"}, "a user name or password"),
        ({"jwks_url": JWKS, "algorithms": ["none"]}, "algorithms"),
        ({"jwks_url": JWKS, "algorithms": ["RS256", "HS256"]}, "algorithms"),
        ({"jwks_url": JWKS, "algorithms": []}, "algorithms"),
        ({"jwks_url": JWKS, "leeway": "1h"}, "leeway"),
        ({"jwks_url": JWKS, "cache": "1h"}, "cache"),
        ({"jwt_public_key": "-----BEGIN PRIVATE KEY-----"}, "this is a private key"),
    ],
)
def test_contradicting_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    """The error does not contain the values."""
    with pytest.raises(ValidationError, match=message):
        AuthSettings(**{**TOKENS, **fields})


@pytest.mark.parametrize(
    "url", [JWKS, "http://127.0.0.1:8080/jwks", "http://localhost/", "http://[::1]:9/"]
)
def test_keys_may_be_fetched_by_https_or_from_this_machine(url: str) -> None:
    """Plain HTTP to other hosts must be allowed explicitly."""
    assert url == AuthSettings(**{**TOKENS, "jwks_url": url}).jwks_url
    remote = {"jwks_url": "http://id.internal/jwks", "jwks_allow_http": True}
    assert AuthSettings(**{**TOKENS, **remote}).jwks_allow_http


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"jwt_public_key": "no key"}, "auth.jwt_public_key is not a public key in PEM format"),
        (
            {"jwt_public_key": public_pem(rsa_key(9, 1024))},
            "cannot be used with .* 2048 bits",
        ),
        ({"jwt_public_key": public_pem(Ed25519PrivateKey.generate())}, "neither an RSA nor an EC"),
        (
            {"jwt_public_key": public_pem(ec_key()), "algorithms": ["RS256"]},
            "cannot be used with",
        ),
        ({"jwt_public_key_file": "missing.pem"}, "cannot read missing.pem"),
        ({"jwt_public_key_file": "private.pem"}, "contains a private key"),
        ({"roles": {"viewer": ["tasks:read"]}}, "the role viewer is built in"),
        ({"roles": {"mine": ["tasks:raed"]}}, "auth.roles.mine: .*did you mean 'tasks:read'"),
        ({"default_roles": ["viewr"]}, "auth.default_roles: .*did you mean 'viewer'"),
    ],
)
def test_unusable_settings_prevent_the_start(
    no_settings: Path, fields: dict[str, Any], message: str
) -> None:
    """
    The error names the setting, and no secret.
    """
    (no_settings / "private.pem").write_text(private_pem(rsa_key()))
    settings = {"enabled": True, **({**TOKENS} if "jwt" in str(fields) else {}), **fields}
    with pytest.raises(InvalidSettings, match=message) as refusal:
        create_app("sqlite::memory:", auth=AuthSettings(**settings))

    assert "BEGIN" not in str(refusal.value).replace("-----BEGIN PUBLIC KEY-----", "")


def test_an_api_key_may_be_read_from_a_file(no_settings: Path) -> None:
    """The file has the format that `openssl rand` writes."""
    file = no_settings / "key.pem"
    file.write_text(public_pem(ec_key()))

    create_app("sqlite::memory:", auth=AuthSettings(**TOKENS, jwt_public_key_file=file))
