"""Scenario A2: a token is exchanged in the middle of a session, and everything after it still says for whom, and how.

Alice's triage agent holds an access token that an identity provider gave it. For the billing API it needs another:
RFC 8693, through the billing agent. Every API call is then on record with Alice, the first workload, both agents in
their order, method and path, and digests of both tokens. An exchange that would give more is refused.

Runs offline; the authorisation server and the API are real, and local.

    pip install 'remit[tokens]' authlib
    python examples/scenarios/a2_token_exchange.py
"""

from __future__ import annotations

import tempfile
from typing import Any

import httpx
from authorization_server import Client, Issuer, running
from billing_api import billing

import remit
from remit.review.who import who
from remit.tokens import TokenEndpoint, TokenVerifier

TRIAGE, BILLING = "spiffe://acme.com/agents/triage", "spiffe://acme.com/agents/billing"
WORKLOAD = "spiffe://acme.com/workloads/runner-7"
GATEWAY, API = "https://agents.acme.com", "https://billing.acme.com"

CATALOGUE = {
    "tools": {
        "billing.get": {"accesses": ["get {url}"], "kinds": {"url": "url"}, "read_only": True},
        "billing.post": {"accesses": ["post {url}"], "kinds": {"url": "url"}},
    }
}

GRANT = """
task: Refund invoice 42, which was charged twice
principal: user:alice@acme.com
agent: spiffe://acme.com/agents/triage
expires_in: 20m
bindings: {change: CHG-42}
delegation: {depth: 1}
tools:
  billing.get:
    resources: ["get https://billing.acme.com/invoices/42"]
  billing.post:
    resources: ["post https://billing.acme.com/refunds"]
    arguments: {invoice: 42, amount: {min: 1, max: 50}}
    limits: {calls: 1}
"""


def http_tool(method: str, base: str, headers: dict[str, str]) -> Any:
    """A tool body that asks the API: the URL that was decided on, sent to where the API listens here."""

    def send(url: str, **body: Any) -> Any:
        answer = httpx.request(method, url.replace(API, base, 1), json=body or None, headers=headers)
        answer.raise_for_status()
        return answer.json()

    return send


def run(app: remit.App, idp: Issuer) -> str:
    """The story. Returns the session's id."""
    grant = app.issue(GRANT, key="invoice-42", credential="user:alice@acme.com")
    believed = TokenVerifier.discover(idp.url, GATEWAY)
    first = idp.sign(
        {
            "sub": "alice@acme.com",
            "aud": GATEWAY,
            "client_id": "triage",
            "scope": "invoices:read refunds:write",
            "act": {"sub": TRIAGE},
            "may_act": {"sub": BILLING},
        }
    )
    endpoint = TokenEndpoint(f"{idp.url}/token", client_id="billing-agent", client_secret="s3cret-of-the-billing-agent")

    with (
        billing(TokenVerifier.discover(idp.url, API)) as base,
        app.session(grant, token=first, verifier=believed, workload=WORKLOAD) as session,
    ):
        print(f"Session {session.id}: {session.agent} for {session.principal}, in {session.workload}.")

        given = session.exchange(first, endpoint=endpoint, verifier=believed, audience=API)
        print(f"Exchanged for {', '.join(given.audience)}: {' → '.join(given.actors)}.")

        get, post = (http_tool(method, base, given.headers) for method in ("GET", "POST"))
        print("GET  /invoices/42 →", session.call("billing.get", {"url": f"{API}/invoices/42"}, run=get))
        refund = {"url": f"{API}/refunds", "invoice": 42, "amount": 20}
        print("POST /refunds     →", session.call("billing.post", refund, run=post))
        try:
            session.call("billing.get", {"url": f"{API}/invoices/43"}, run=get)
        except remit.Denied as denied:
            print(f"GET  /invoices/43 → refused, {denied.code}: {denied.reason}")

        idp.tamper = lambda claims: {**claims, "scope": f"{claims['scope']} admin"}
        try:
            session.exchange(first, endpoint=endpoint, verifier=believed, audience=API)
        except remit.DelegationWidened as refused:
            print(f"A second exchange → refused, {refused.code}: {refused}")
        return session.id


def timeline(app: remit.App, session_id: str) -> list[str]:
    """The session as its records tell it: when, what, through whom, by which tokens."""
    lines = []
    for record in app.records(session_id):
        said, private = record.data, record.disclosed() or {}
        if record.type == "session.opened":
            token = said["token"]
            lines.append(f"opened by {said['agent']} for {said['principal']}, token {token['digest'][:12]}")
        elif record.type == "identity.exchanged":
            effect = "given" if said["effect"] == "permit" else f"refused ({said['code']})"
            way = " → ".join(digest[:12] for digest in said["tokens"])
            lines.append(f"exchange {effect}: {way}, for {', '.join(said['asked']['audience'])}")
        elif record.type in ("call.intent", "call.denied"):
            [access] = private["accesses"]
            way, effect = said["delegation"], said["decision"]["effect"]
            lines.append(
                f"{effect} {access}: {way['subject']} through {' → '.join(way['actors'])}, in {said['workload']}"
            )
    return lines


def main() -> None:
    """Run it and show what is on record."""
    client = Client("billing-agent", BILLING, secret="s3cret-of-the-billing-agent", audiences=frozenset({API}))
    with tempfile.TemporaryDirectory() as folder, running(client) as idp:
        url = f"sqlite:///{folder}/remit.db"
        with remit.open(url, development=True, catalogue=CATALOGUE) as app:
            session_id = run(app, idp)
            print("\nOn record:")
            for line in timeline(app, session_id):
                print(f"  {line}")
            print("\nWho touched the refunds? (remit who 'https://billing.acme.com/refunds')")
            for deed in who(app.deployment, f"{API}/refunds"):
                print(f"  {deed.call.tool}, {deed.call.state}: {deed.acting} for {deed.principal}")
            print(f"\nVerified: {app.verify().size} records.")


if __name__ == "__main__":
    main()
