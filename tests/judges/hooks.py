"""What schemathesis needs to know of Vestibule, and two checks of our own."""

import os

import schemathesis
from hypothesis import strategies as st

WHO = os.environ["WHO"]
OWN_ID = os.environ["OWN_ID"]
OTHER_ID = os.environ["OTHER_ID"]

PLAIN = st.characters(categories=["L", "N", "P", "S"])
NO_NUL = st.characters(codec="utf-8", exclude_characters="\0")

# Formats of our own, and addresses without quotes, comments and numbers for a domain, which are refused.
schemathesis.openapi.format("email", st.from_regex(r"[a-z]{3,20}@[a-z]{3,20}\.example", fullmatch=True))
schemathesis.openapi.format("person-name", st.text(PLAIN, min_size=1, max_size=40))
schemathesis.openapi.format("description", st.text(PLAIN, min_size=1, max_size=80))
schemathesis.openapi.format("new-password", st.text(PLAIN, min_size=20, max_size=40))
for name in ["identifier", "password", "search"]:
    schemathesis.openapi.format(name, st.text(NO_NUL, min_size=1, max_size=250))

# What a request can be refused for although it satisfies its schema: no schema can say these.
BEYOND_SCHEMAS = {
    "common_password",
    "contains_identity",
    "unknown_role",
    "unknown_permission",
    ("/name", "not_allowed"),  # a role's replacement states another name than the path
    "wrong_password",  # the fuzzer does not know it
    ("/current_password", "required"),  # only where the e-mail address is changed
    ("cursor", "not_allowed"),  # only the server makes cursors, each for one list
}
# What no fuzzer gets a 2xx from: it knows neither the password nor a refresh token.
NEVER_REACHED = {"closeAccount", "changePassword", "refreshSession"}


@schemathesis.hook
def before_call(context, case, kwargs):
    """Spares the run's own account, whose id the answers tell: changed by an administrator, its session would end."""
    if case.method != "GET" and case.path_parameters.get("id") == OWN_ID:
        case.path_parameters["id"] = OTHER_ID


def may(operation):
    """Whether the contract lets the one who runs this call the operation."""
    permissions = [names for scheme in operation.definition.raw["security"] for names in scheme.values()]
    return {"nobody": not permissions, "user": not any(permissions), "administrator": True}[WHO]


@schemathesis.check
def refused_by_the_schema_alone(ctx, response, case):
    """What satisfies the schema gets a 422 only for what no schema can say."""
    if response.status_code == 422 and case.meta and case.meta.generation.mode.is_positive:
        errors = {(it.get("pointer", it.get("parameter")), it["code"]) for it in response.json()["errors"]}
        stray = {it for it in errors if it not in BEYOND_SCHEMAS and it[1] not in BEYOND_SCHEMAS}
        assert not stray, f"refused although the schema allows it: {stray}"


@schemathesis.check
class access_as_stated:
    """Whoever may call an operation gets through to it at least once, and nobody else ever."""

    def __init__(self):
        self.tested, self.reached = set(), set()

    def after_response(self, ctx, response, case):
        operation = case.operation
        if case.method != operation.method.upper():
            return
        if may(operation):
            self.tested.add(operation.definition.raw["operationId"])
        if response.status_code < 300:
            assert may(operation), f"{WHO} got through"
            self.reached.add(operation.definition.raw["operationId"])

    def after_run(self, ctx):
        missing = self.tested - self.reached - NEVER_REACHED
        assert not missing, f"{WHO} never got through to {', '.join(sorted(missing))}"
