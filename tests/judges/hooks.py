"""Formats and exceptions that schemathesis needs for Vestibule, and two additional checks."""

import base64
import os
import re

import schemathesis
from hypothesis import strategies as st

WHO = os.environ["WHO"]
OWN_ID = os.environ["OWN_ID"]
OTHER_ID = os.environ["OTHER_ID"]

PLAIN = st.characters(categories=["L", "N", "P", "S"])
NO_NUL = st.characters(codec="utf-8", exclude_characters="\0")

# Vestibule's own formats, and e-mail addresses without quotes, comments and IP addresses, which Vestibule rejects.
schemathesis.openapi.format("email", st.from_regex(r"[a-z]{3,20}@[a-z]{3,20}\.example", fullmatch=True))
schemathesis.openapi.format("person-name", st.text(PLAIN, min_size=1, max_size=40))
schemathesis.openapi.format("description", st.text(PLAIN, min_size=1, max_size=80))
schemathesis.openapi.format("new-password", st.text(PLAIN, min_size=20, max_size=40))
schemathesis.openapi.format("ticket-code", st.from_regex(r"[0-9]{8}", fullmatch=True))
schemathesis.openapi.format("ticket-handle", st.from_regex(r"vh1\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", fullmatch=True))
schemathesis.openapi.format("totp-code", st.from_regex(r"[0-9]{6}", fullmatch=True))
schemathesis.openapi.format("recovery-code", st.from_regex(r"[0-9A-HJKMNP-TV-Z]{16}", fullmatch=True))
schemathesis.openapi.format("challenge", st.from_regex(r"vc1\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", fullmatch=True))
schemathesis.openapi.format(
    "ticket-token", st.from_regex(r"vt1\.[A-Za-z0-9_-]{21}[AQgw]\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]", fullmatch=True)
)
schemathesis.openapi.format(
    "ceremony", st.binary(min_size=16, max_size=300).map(lambda text: "vp1." + base64.urlsafe_b64encode(text).decode().rstrip("="))
)
for name in ["identifier", "password", "search"]:
    schemathesis.openapi.format(name, st.text(NO_NUL, min_size=1, max_size=250))

# Faults of requests that satisfy their schema. A schema cannot express these rules.
BEYOND_SCHEMAS = {
    "common_password",
    "contains_identity",
    "unknown_role",
    "unknown_permission",
    ("/name", "not_allowed"),  # the body of a role has another name than the path
    "wrong_password",  # the fuzzer does not know it
    ("/current_password", "required"),  # only if the e-mail address changes
    "invalid_ticket",  # the fuzzer reads no mail
    "wrong_code",
    ("/ceremony", "invalid_challenge"),  # the fuzzer has no passkey
    ("/ceremony", "format"),  # base64 whose last character has bits to spare
    ("/factor/ceremony", "format"),
    ("/credential", "not_allowed"),  # a NUL somewhere in what a browser has written
    ("/factor/credential", "not_allowed"),
    ("/code", "required"),  # either this or `token`, which the schema cannot say of a closed object
    ("/code", "not_allowed"),
    ("cursor", "not_allowed"),  # only the server makes cursors, each for one list
}
# Operations for which the fuzzer never gets a 2xx: it knows neither the password nor a refresh token, it reads no mail, all mails
# are sent already, the administrator's address is verified, the mode of registration is `open`, the address of the user is not
# verified, nobody has a second factor, and passkeys are unavailable without `server.public_url`.
NEVER_REACHED = {
    "closeAccount",
    "changePassword",
    "authenticateAgain",
    "completeLogIn",
    "startPasskeyLogIn",
    "logInByPasskey",
    "startPasskeyProof",
    "startPasskey",
    "addPasskey",
    "refreshSession",
    "startTotp",
    "confirmTotp",
    "renameFactor",
    "removeFactor",
    "replaceRecoveryCodes",
    "resetPassword",
    "readTicket",
    "verifyEmail",
    "requestEmailVerification",
    "retryMail",
    "confirmEmailChange",
    "cancelEmailChange",
    "revertEmailChange",
    "startSignUp",
    "completeSignUp",
    "acceptInvitation",
}


@schemathesis.hook
def before_call(context, case, kwargs):
    """Spares the account of this run, whose id is in the responses: a change of it would end the session."""
    if case.method != "GET" and case.path_parameters.get("id") == OWN_ID:
        case.path_parameters["id"] = OTHER_ID


def may_call(operation):
    """Returns whether the contract allows the account of this run to call the operation."""
    permissions = [names for scheme in operation.definition.raw["security"] for names in scheme.values()]
    return {"nobody": not permissions, "user": not any(permissions), "administrator": True}[WHO]


def place(error):
    """Returns the place of a fault. What a browser has written has no schema, so all of it is one place."""
    return re.sub(r"(?<=/credential)/.*", "", error.get("pointer", error.get("parameter")))


@schemathesis.check
def refused_by_the_schema_alone(ctx, response, case):
    """A request that satisfies its schema gets a 422 only for a fault that a schema cannot express."""
    if response.status_code == 422 and case.meta and case.meta.generation.mode.is_positive:
        errors = {(place(error), error["code"]) for error in response.json()["errors"]}
        unexpected = {error for error in errors if error not in BEYOND_SCHEMAS and error[1] not in BEYOND_SCHEMAS}
        assert not unexpected, f"rejected although the schema allows it: {unexpected}"


@schemathesis.check
class access_as_stated:
    """An account that may call an operation succeeds at least once; no other account ever succeeds."""

    def __init__(self):
        self.tested, self.reached = set(), set()

    def after_response(self, ctx, response, case):
        operation = case.operation
        if case.method != operation.method.upper():
            return
        if may_call(operation):
            self.tested.add(operation.definition.raw["operationId"])
        if response.status_code < 300:
            assert may_call(operation), f"{WHO} succeeded without permission"
            self.reached.add(operation.definition.raw["operationId"])

    def after_run(self, ctx):
        missing = self.tested - self.reached - NEVER_REACHED
        assert not missing, f"{WHO} never succeeded with {', '.join(sorted(missing))}"
