"""Policies from files, and what is wrong with them."""

from pathlib import Path

import pytest

from tasker.errors import InvalidInput, InvalidPolicy, TooLarge
from tasker.teams.checks import check_policy
from tasker.teams.model import NamespacePolicy
from tasker.teams.policies import (
    MAX_BYTES,
    load_policies,
    parse_policies,
    parse_policies_section,
)

GROWTHCORP = """
namespaces:
  payments:
    owner_team: payments
    contact_email: payments-team@growthcorp.com
    description: Payment processing, refunds, and financial workflows
    requires_approval: false
  customer_success:
    owner_team: customer_success
    contact_email: cs-team@growthcorp.com
  shared:
    owner_team: platform
    requires_approval: true
    approvers: [sarah@growthcorp.com, marcus@growthcorp.com]
"""
SHARED = NamespacePolicy(
    namespace="shared",
    owner_team="platform",
    requires_approval=True,
    approvers=("sarah@growthcorp.com", "marcus@growthcorp.com"),
)


def problems(text: str, *, toml: bool = False) -> list[str]:
    """Return the problems of a text, as `line:column message`, or `path message`."""
    with pytest.raises(InvalidPolicy) as raised:
        parse_policies(text, file="p.yaml", toml=toml)
    assert {"p.yaml"} == {problem.file for problem in raised.value.problems}
    return [
        f"{problem.line}:{problem.column} {problem.message}"
        if problem.line
        else f"{problem.path} {problem.message}"
        for problem in raised.value.problems
    ]


def test_policies_are_read_in_order() -> None:
    """Omitted fields are empty."""
    payments, success, shared = parse_policies(GROWTHCORP)

    assert (
        NamespacePolicy(
            namespace="payments",
            owner_team="payments",
            contact_email="payments-team@growthcorp.com",
            description="Payment processing, refunds, and financial workflows",
        )
        == payments
    )
    assert ("customer_success", False, ()) == (
        success.namespace,
        success.requires_approval,
        success.approvers,
    )
    assert SHARED == shared


def test_policies_can_be_read_from_toml(tmp_path: Path) -> None:
    """The suffix selects the format."""
    toml = tmp_path / "policies.toml"
    toml.write_text(
        '[namespaces.shared]\nowner_team = "platform"\nrequires_approval = true\n'
        'approvers = ["sarah@growthcorp.com", "marcus@growthcorp.com"]\n'
    )
    yaml = tmp_path / "policies.yaml"
    yaml.write_text(GROWTHCORP)

    assert [SHARED] == load_policies(toml)
    assert SHARED == load_policies(yaml)[-1]
    assert [SHARED] == parse_policies_section(
        {
            "shared": {
                "owner_team": "platform",
                "requires_approval": True,
                "approvers": ["sarah@growthcorp.com", "marcus@growthcorp.com"],
            }
        }
    )


def test_all_errors_are_reported_with_their_position() -> None:
    """They are reported together, in the order of the file."""
    text = """\
namespaces:
  pay ments: {}
  payments:
    owner_tem: payments
    contact_email: payments
  shared:
    requires_approval: true
  twice:
    approvers: [a@b.c, A@b.c, 3]
    http_hosts: [api.example.com, "https://x.example.com", 4]
  nothing:
other: 1
"""

    assert [
        "2:14 'pay ments' is not a valid namespace name: use letters, digits and _, not starting"
        " with a digit (at most 63 characters)",
        "4:5 unknown key 'owner_tem' in a namespace; did you mean 'owner_team'? Allowed:"
        " owner_team, contact_email, description, requires_approval, approvers, http_hosts",
        "5:20 'payments' is not an e-mail address; use the form name@example.com",
        "7:24 requires_approval needs approvers: a list of at least one e-mail address",
        "9:24 A@b.c is duplicated",
        '9:31 must be a string, in quotes: "3", found the number 3',
        "10:35 'https://x.example.com' is not a valid host; write api.example.com,"
        " api.example.com:8443, *.example.com or *, in lower case and without https://",
        '10:60 must be a string, in quotes: "4", found the number 4',
        "11:11 must be a mapping with the keys of a namespace, found nothing",
        "12:1 unknown key 'other' in a policy file; allowed: namespaces",
    ] == problems(text)


def test_an_error_in_toml_is_reported_with_its_path() -> None:
    """Only syntax errors of TOML have lines."""
    assert [
        "namespaces.x.owner_team must be a string, found a list",
        "namespaces.x.contact_email a date cannot be represented as JSON",
    ] == sorted(
        problems("[namespaces.x]\ncontact_email = 2020-01-01\nowner_team = []", toml=True),
        reverse=True,
    )
    (syntax,) = problems("[x", toml=True)
    assert "invalid TOML" in syntax


@pytest.mark.parametrize("text", ["", "# nothing", "{}", "[]", "namespaces:", "namespaces: [1]"])
def test_a_file_without_policies_is_refused(text: str) -> None:
    assert problems(text)


def test_an_unreadable_file_is_reported(tmp_path: Path) -> None:
    """The error has the same class as for invalid files."""
    with pytest.raises(InvalidPolicy, match="cannot be read"):
        load_policies(tmp_path / "none.yaml")
    with pytest.raises(TooLarge):
        parse_policies(" " * (MAX_BYTES + 1))
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"x = '\xe4'")
    with pytest.raises(InvalidPolicy, match="UTF-8"):
        load_policies(latin)


@pytest.mark.parametrize(
    ("path", "policy"),
    [
        ("$.namespace", NamespacePolicy(namespace="")),
        ("$.namespace", NamespacePolicy(namespace="9to5")),
        ("$.owner_team", NamespacePolicy(namespace="n", owner_team="x" * 201)),
        ("$.contact_email", NamespacePolicy(namespace="n", contact_email="a@b")),
        ("$.contact_email", NamespacePolicy(namespace="n", contact_email="a b@c.de")),
        ("$.approvers[1]", NamespacePolicy(namespace="n", approvers=("a@b.c", "a@b.c"))),
        (
            "$.approvers[100]",
            NamespacePolicy(namespace="n", approvers=tuple(f"{n}@b.c" for n in range(101))),
        ),
        ("$.requires_approval", NamespacePolicy(namespace="n", requires_approval=True)),
        *(
            ("$.http_hosts[0]", NamespacePolicy(namespace="n", http_hosts=(host,)))
            for host in ("", "API.example.com", "http://a", "a/b", "a:0", "*.*", "a.*", "user@a")
        ),
        (
            "$.http_hosts[100]",
            NamespacePolicy(namespace="n", http_hosts=tuple(f"h{n}" for n in range(101))),
        ),
    ],
)
def test_a_policy_made_in_code_is_checked_too(path: str, policy: NamespacePolicy) -> None:
    """The error has the path of the invalid part."""
    with pytest.raises(InvalidInput) as refusal:
        check_policy(policy)

    assert path == refusal.value.path


def test_a_valid_policy_is_accepted() -> None:
    """
    Approvers may be listed before they are needed.
    """
    check_policy(SHARED)
    check_policy(NamespacePolicy(namespace="n"))
    check_policy(NamespacePolicy(namespace="n", approvers=("josé.o'neill+x@mail.example.com",)))
    hosts = ("api.example.com", "localhost:8080", "*.example.com:8443", "*", "10.0.0.1", "[::1]:80")
    check_policy(NamespacePolicy(namespace="n", http_hosts=hosts))


@pytest.mark.parametrize(
    ("allowed", "host", "port", "expected"),
    [
        ((), "api.example.com", 443, False),
        (("api.example.com",), "api.example.com", 443, True),
        (("api.example.com",), "api.example.com", 8443, True),
        (("api.example.com",), "evil.api.example.com", 443, False),
        (("api.example.com",), "api.example.com.evil.net", 443, False),
        (("api.example.com:8443",), "api.example.com", 8443, True),
        (("api.example.com:8443",), "api.example.com", 443, False),
        (("*.example.com",), "api.example.com", 443, True),
        (("*.example.com",), "a.b.example.com", 443, True),
        (("*.example.com",), "example.com", 443, False),
        (("*.example.com",), "notexample.com", 443, False),
        (("*",), "anything", 1, True),
        (("[::1]",), "[::1]", 443, True),
        (("[::1]:80",), "[::1]", 80, True),
        (("[::1]:80",), "[::1]", 443, False),
        (("a", "b"), "b", 443, True),
    ],
)
def test_a_policy_lists_the_allowed_hosts(
    allowed: tuple[str, ...], host: str, port: int, expected: bool
) -> None:
    assert expected is NamespacePolicy(namespace="n", http_hosts=allowed).allows_http(host, port)
