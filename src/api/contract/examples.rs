//! Examples of every object in the document. *Execute* in Swagger UI sends the examples of request objects unchanged.

use serde_json::{Map, Value, json};

use crate::api::http::codes::Code;

/// Adds an example to the schema of every object: the one that is written here, or one made of the examples of its members.
pub(super) fn complete(schemas: &mut Value) {
    for (name, example) in written().into_iter().chain(of_mails()).chain(of_factors()).chain(of_passkeys()) {
        schemas[name]["examples"] = json!([example]);
    }
    let names: Vec<String> = schemas.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    for name in names {
        let object = &schemas[&name];
        if object["type"] == "object" && object["examples"].is_null() {
            let members = object["properties"].as_object().into_iter().flatten();
            let example: Map<String, Value> =
                members.filter_map(|(member, schema)| Some((member.clone(), of(schema, schemas)?))).collect();
            schemas[&name]["examples"] = json!([example]);
        }
    }
}

/// Returns the example of a member, if the member or the object to which it refers has one.
fn of(schema: &Value, schemas: &Value) -> Option<Value> {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/components/schemas/")) {
        return schemas[name]["examples"].get(0).cloned();
    }
    let item = || of(schema.get("items")?, schemas).map(|item| json!([item]));
    schema["examples"].get(0).cloned().or_else(item)
}

/// The examples of responses, and of requests that would fail with the examples of all their members.
fn written() -> Vec<(&'static str, Value)> {
    let (at, later) = ("2026-01-01T12:00:00.000000Z", "2026-01-31T12:00:00.000000Z");
    let user = "019b76da-a800-7000-8000-3f1e9c7a5d21";
    let session = "019b76da-a800-7000-8000-8b4d2f6e0c17";
    let kid = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    let token = "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl";
    let clerk = json!({ "description": "The staff at the counter.", "permissions": ["users:read", "billing:refund"] });
    let with = |mut object: Value, name: &str, more: Value| {
        object[name] = more;
        object
    };
    vec![
        ("MyChange", json!({ "name": "Ada King" })),
        ("NewUser", json!({ "email": "grace@example.org", "username": "grace", "password": "nine grey gulls at noon" })),
        ("UserChange", json!({ "name": "Grace Hopper" })),
        ("RoleSetting", json!({ "roles": ["clerk", "user"] })),
        ("NewRole", with(clerk.clone(), "name", "clerk".into())),
        ("RoleDraft", json!({ "description": "The staff at the counter.", "permissions": ["users:read"] })),
        ("Holding", json!({ "refresh_token": "the latest refresh token" })),
        ("IntrospectionRequest", json!({ "token": token })),
        (
            "User",
            json!({
                "id": user, "email": "ada@example.org", "email_verified": true, "username": "ada", "name": "Ada Lovelace", "status": "active",
                "roles": ["user"], "second_factor": false, "created_at": at, "updated_at": at, "last_login_at": at,
            }),
        ),
        (
            "Tokens",
            json!({
                "access_token": token, "token_type": "Bearer", "expires_in": 900, "refresh_token": "opaque",
                "refresh_expires_in": 2_592_000, "session_id": session,
            }),
        ),
        (
            "Token",
            json!({
                "subject": user, "session_id": session, "client_id": "vestibule", "roles": ["clerk"],
                "permissions": ["billing:refund", "users:read"], "issued_at": at, "expires_at": "2026-01-01T12:15:00.000000Z",
                "auth_time": at, "acr": "1", "amr": ["pwd"],
            }),
        ),
        (
            "Introspection",
            json!({
                "active": true, "iss": "https://id.example.org", "sub": user, "aud": "vestibule", "client_id": "vestibule",
                "exp": 1_767_269_700, "iat": 1_767_268_800, "jti": "019b76da-a800-7000-8000-6a0e4c8d2b95",
                "token_type": "Bearer", "scope": "billing:refund users:read", "roles": ["clerk"],
            }),
        ),
        (
            "Session",
            json!({
                "id": session, "created_at": at, "last_used_at": at, "expires_at": later, "address": "192.0.2.7",
                "user_agent": "curl/8.14.1", "current": true,
            }),
        ),
        ("Role", {
            let role = with(clerk, "name", "clerk".into());
            with(with(with(role, "built_in", false.into()), "created_at", at.into()), "updated_at", at.into())
        }),
        ("Permission", json!({ "name": "users:read", "description": "See every account." })),
        ("AuditActor", json!({ "id": user, "name": "ada" })),
        ("AuditSubject", json!({ "type": "role", "id": "clerk" })),
        (
            "AuditEvent",
            json!({
                "id": "019b76da-a800-7000-8000-1c9f7e5b3d62", "at": at, "kind": "role.deleted",
                "actor": { "id": user, "name": "ada" }, "subject": { "type": "role", "id": "clerk" },
                "address": "192.0.2.7", "session_id": session, "request_id": "019b76da-a800-7000-8000-5d2c8e6f1a3b",
                "details": {},
            }),
        ),
        (
            "Jwk",
            json!({
                "kty": "OKP", "kid": kid, "use": "sig", "alg": "EdDSA", "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }),
        ),
        ("SigningKey", json!({ "kid": kid, "algorithm": "EdDSA", "status": "active", "created_at": at, "activates_at": at })),
        (
            "ServiceOptions",
            json!({
                "name": "Example", "accent": "#0b57d0", "registration": "verified", "mail": true, "passkeys": false,
                "password_min_length": 8, "languages": ["en", "de"], "return_to": ["https://app.example.org"],
            }),
        ),
        ("Health", json!({ "status": "ok" })),
        ("Version", json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") })),
        ("Fault", json!({ "pointer": "/email", "code": "format", "detail": "An e-mail address must contain an @." })),
        ("Problem", problem(Code::NotFound, "Not Found")),
    ]
}

/// The examples of mails, and of what is in them.
fn of_mails() -> Vec<(&'static str, Value)> {
    let at = "2026-01-01T12:00:00.000000Z";
    let handle = "vh1.q3Zk0mIYyO3N6QyD8m7gkUu3wq1eP9n5o2x4ZtLrKsE";
    let ticket = "vt1.VQiX0sUIR9GxSbZJQmUeGw.q3Zk0mIYyO3N6QyD8m7gkUu3wq1eP9n5o2x4ZtLrKsE";
    let by_password = json!({ "kind": "password", "password": "seven tall ships at dawn" });
    let by_code = json!({ "kind": "code", "handle": handle, "code": "4815 1623" });
    vec![
        ("LinkProof", json!({ "kind": "link", "token": ticket })),
        ("CodeProof", by_code.clone()),
        ("Proof", by_code.clone()),
        ("SignUpCompletion", json!({ "proof": by_code, "password": "nine grey gulls at noon", "name": "Grace Hopper" })),
        ("PasswordFactor", by_password.clone()),
        ("AuthenticationFactor", by_password.clone()),
        ("AuthenticationRequest", json!({ "factor": by_password })),
        ("PasswordReset", json!({ "proof": by_code, "new_password": "nine grey gulls at noon" })),
        ("EmailRevert", json!({ "token": ticket, "new_password": "nine grey gulls at noon" })),
        ("OwnMailProof", json!({ "code": "4815 1623" })),
        ("Pending", json!({ "handle": handle, "expires_in": 1_800, "resend_after": 60 })),
        (
            "Ticket",
            json!({
                "purpose": "reset", "email": "ada@example.org", "name": "Ada Lovelace", "language": "en", "factors": [],
                "expires_at": "2026-01-01T12:30:00.000000Z",
            }),
        ),
        ("NewInvitation", json!({ "email": "grace@example.org", "name": "Grace Hopper", "roles": ["user"], "language": "en" })),
        (
            "Invitation",
            json!({
                "id": "019b76da-a800-7000-8000-7e1a9d4b6c53", "email": "grace@example.org", "name": "Grace Hopper",
                "roles": ["user"], "language": "en", "created_by": "019b76da-a800-7000-8000-3f1e9c7a5d21", "created_at": at,
                "expires_at": "2026-01-08T12:00:00.000000Z",
            }),
        ),
        (
            "Mail",
            json!({
                "id": "019b76da-a800-7000-8000-2d8f5a3c7e41", "kind": "reset", "to": "ada@example.org", "state": "sent",
                "attempts": 1, "created_at": at, "sent_at": "2026-01-01T12:00:01.000000Z",
            }),
        ),
    ]
}

/// The examples of second factors.
fn of_factors() -> Vec<(&'static str, Value)> {
    let at = "2026-01-01T12:00:00.000000Z";
    let (id, codes) = ("019b76da-a800-7000-8000-4c7b1e9d3f58", ["4F7K-2M9P-XW3B-R8TQ", "9C2V-H6DA-0JYN-5EGS"]);
    let totp = json!({ "kind": "totp", "code": "123 456" });
    let factor = json!({ "id": id, "kind": "totp", "name": "Phone", "created_at": at, "last_used_at": at });
    let tokens = json!({
        "access_token": "eyJhbGciOiJFZERTQSJ9.e30.c2lnbmF0dXJl", "token_type": "Bearer", "expires_in": 900,
        "refresh_expires_in": 2_592_000, "session_id": "019b76da-a800-7000-8000-8b4d2f6e0c17",
    });
    let (secret, qr) = ("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", json!({ "size": 53, "path": "M4 4h7v1h-7z" }));
    vec![
        ("TotpFactor", totp.clone()),
        ("RecoveryCodeFactor", json!({ "kind": "recovery_code", "code": codes[0] })),
        ("FactorProof", totp),
        ("Factor", factor.clone()),
        ("FactorPage", json!({ "items": [factor] })),
        ("QrCode", qr.clone()),
        (
            "TotpEnrolment",
            json!({
                "id": id, "secret": secret, "qr": qr, "expires_in": 600,
                "uri": format!("otpauth://totp/Example:ada%40example.org?secret={secret}&issuer=Example"),
            }),
        ),
        ("EnrolledFactor", json!({ "factor": factor, "tokens": tokens, "recovery_codes": codes })),
        ("RecoveryCodes", json!({ "codes": codes })),
    ]
}

/// The examples of passkeys.
fn of_passkeys() -> Vec<(&'static str, Value)> {
    let ceremony = "vp1.VQiX0sUIR9GxSbZJQmUeG_q3Zk0mIYyO3N6QyD8m7gk";
    let id = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
    let signed = json!({ "clientDataJSON": "e30", "authenticatorData": "AAAA", "signature": "AAAA", "userHandle": "AAAA" });
    let credential = json!({ "id": id, "rawId": id, "type": "public-key", "response": signed, "clientExtensionResults": {} });
    let options = json!({
        "challenge": "q3Zk0mIYyO3N6QyD8m7gkUu3wq1eP9n5o2x4ZtLrKsE", "timeout": 300_000, "rpId": "id.example.org",
        "allowCredentials": [], "userVerification": "required",
    });
    vec![
        ("PasskeyCredential", credential.clone()),
        ("PasskeyCeremony", json!({ "ceremony": ceremony, "options": options })),
        ("PasskeyFactor", json!({ "kind": "passkey", "ceremony": ceremony, "credential": credential })),
        ("PasskeyLogInStart", json!({})),
        ("NewPasskey", json!({ "ceremony": ceremony, "credential": credential, "name": "Laptop" })),
    ]
}

/// A problem with this code, as a response shows it.
pub(super) fn problem(code: Code, title: &str) -> Value {
    let mut problem = json!({
        "type": format!("urn:problem-type:vestibule:{}", code.name()),
        "title": title,
        "status": code.status(),
        "code": code.name(),
        "request_id": "019b76da-a800-7000-8000-5d2c8e6f1a3b",
    });
    match code {
        Code::InsufficientPermission => {
            problem["required_permission"] = json!("users:read");
            problem["granted_by"] = json!(["admin"]);
        }
        Code::InsufficientUserAuthentication => {
            problem["acr_values"] = json!(["2"]);
            problem["max_age"] = json!(600);
        }
        Code::SecondFactorRequired => {
            problem["challenge"] = json!("vc1.q3Zk0mIYyO3N6QyD8m7gkUu3wq1eP9n5o2x4ZtLrKsE");
            problem["factors"] = json!(["totp", "recovery_code"]);
            problem["expires_in"] = json!(600);
        }
        Code::ValidationFailed => {
            let fault = json!({ "pointer": "/email", "code": "format", "detail": "An e-mail address must contain an @." });
            problem["errors"] = json!([fault]);
        }
        _ => {}
    }
    problem
}
