//! Roles: created, read, replaced and deleted, within the permissions of the caller.

use serde_json::json;

use crate::{assert_problem, support::TestApp};

#[tokio::test]
async fn a_role_is_created_replaced_and_deleted() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let draft = json!({ "name": "clerk", "description": "Those at the counter.", "permissions": ["users:read", "billing:refund", "users:read"] });
    let made = admin.post("/v1/roles", draft.clone()).await;
    assert_eq!(made.header("location"), "/v1/roles/clerk");
    let role = made.expect(201);
    assert_eq!(role["permissions"], json!(["billing:refund", "users:read"]));
    assert_eq!(admin.get("/v1/roles/clerk").await.expect(200), role);
    assert_problem!(admin.post("/v1/roles", draft).await, 409, "role_exists");
    let replaced = admin.put("/v1/roles/clerk", json!({ "permissions": [] })).await.expect(200);
    assert!(replaced.get("description").is_none());
    assert_eq!(replaced["permissions"], json!([]));
    let ada = app.register("ada").await;
    let roles = format!("/v1/users/{ada}/roles");
    admin.put(&roles, json!({ "roles": ["clerk"] })).await.expect(200);
    assert_problem!(admin.delete("/v1/roles/clerk", json!(null)).await, 409, "role_in_use");
    admin.put(&roles, json!({ "roles": [] })).await.expect(200);
    admin.delete("/v1/roles/clerk", json!(null)).await.expect(204);
    assert_problem!(admin.get("/v1/roles/clerk").await, 404, "not_found");
    assert_problem!(admin.delete("/v1/roles/clerk", json!(null)).await, 404, "not_found");
}

#[tokio::test]
async fn built_in_roles_are_listed_and_cannot_be_changed() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let listed = admin.get("/v1/roles").await.expect(200);
    let names: Vec<_> = listed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|role| (role["name"].as_str().unwrap(), role["built_in"] == true))
        .collect();
    assert_eq!(names, [("admin", true), ("user", true)]);
    for name in ["admin", "user"] {
        assert_problem!(admin.put(&format!("/v1/roles/{name}"), json!({ "permissions": [] })).await, 409, "role_built_in");
        assert_problem!(admin.delete(&format!("/v1/roles/{name}"), json!(null)).await, 409, "role_built_in");
        assert_problem!(admin.post("/v1/roles", json!({ "name": name, "permissions": [] })).await, 409, "role_exists");
    }
}

#[tokio::test]
async fn the_administrator_holds_every_permission_that_has_a_name() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    admin.post("/v1/roles", json!({ "name": "clerk", "permissions": ["billing:refund"] })).await.expect(201);
    let known = admin.get("/v1/permissions").await.expect(200);
    let held = admin.get("/v1/token").await.expect(200)["permissions"].as_array().unwrap().clone();
    assert_eq!(held.len(), known["items"].as_array().unwrap().len() + 1);
    assert!(held.contains(&json!("billing:refund")));
    assert_eq!(admin.get("/v1/roles/admin").await.expect(200)["permissions"], json!(held));
}

#[tokio::test]
async fn a05_editing_a_role_requires_its_old_and_its_new_permissions() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    admin.post("/v1/roles", json!({ "name": "cashier", "permissions": ["billing:refund"] })).await.expect(201);
    let editor = app.holding("editor", &["roles:write", "roles:read", "users:read"]).await;
    let role = |name: &str, permissions: &[&str]| json!({ "name": name, "permissions": permissions });
    editor.post("/v1/roles", role("reader", &["users:read"])).await.expect(201);
    assert_problem!(editor.post("/v1/roles", role("writer", &["users:write"])).await, 403, "escalation_denied");
    assert_problem!(editor.post("/v1/roles", role("payer", &["billing:refund"])).await, 403, "escalation_denied");
    assert_problem!(editor.put("/v1/roles/reader", json!({ "permissions": ["billing:pay"] })).await, 403, "escalation_denied");
    assert_problem!(editor.put("/v1/roles/cashier", json!({ "permissions": [] })).await, 403, "escalation_denied");
    assert_problem!(editor.delete("/v1/roles/cashier", json!(null)).await, 403, "escalation_denied");
    editor.delete("/v1/roles/reader", json!(null)).await.expect(204);
}

#[tokio::test]
async fn all_invalid_names_and_permissions_are_reported() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let refused =
        admin.post("/v1/roles", json!({ "name": "A", "permissions": ["users:read", "nonsense", 7], "built_in": true })).await;
    let refused = assert_problem!(refused, 422, "validation_failed");
    assert_eq!(
        refused.faults(),
        [
            ("/built_in", "unknown_member"),
            ("/name", "pattern"),
            ("/name", "too_short"),
            ("/permissions/1", "pattern"),
            ("/permissions/2", "type"),
        ]
    );
    assert_problem!(admin.get("/v1/roles/NO").await, 404, "not_found");
}

#[tokio::test]
async fn a_role_can_be_sent_back_as_it_was_read_but_not_renamed() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let made = admin.post("/v1/roles", json!({ "name": "clerk", "permissions": ["billing:refund"] })).await.expect(201);
    let same = json!({ "name": made["name"], "permissions": made["permissions"] });
    assert_eq!(admin.put("/v1/roles/clerk", same).await.expect(200)["name"], "clerk");
    let renamed = admin.put("/v1/roles/clerk", json!({ "name": "baker", "permissions": [] })).await;
    assert_eq!(assert_problem!(renamed, 422, "validation_failed").faults(), [("/name", "not_allowed")]);
    assert_eq!(admin.get("/v1/roles/clerk").await.expect(200)["permissions"], json!(["billing:refund"]));
}

#[tokio::test]
async fn a_misspelt_built_in_permission_is_refused_with_the_nearest_name() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let body = json!({ "name": "clerk", "permissions": ["user:read", "billing:refund", "users:raed", "rules:write"] });
    let refused = assert_problem!(admin.post("/v1/roles", body).await, 422, "validation_failed");
    assert_eq!(refused.faults(), [("/permissions/0", "unknown_permission"), ("/permissions/2", "unknown_permission")]);
    for fault in refused.body["errors"].as_array().unwrap() {
        assert_eq!(fault["detail"], "Vestibule has no such permission. The nearest one is users:read.");
    }
    admin.post("/v1/roles", json!({ "name": "clerk", "permissions": ["rules:write"] })).await.expect(201);

    // A role that holds such a permission from an earlier version keeps it and can be edited.
    let tx = app.app.db.write().await.unwrap();
    let held = ["user:read".parse().unwrap()];
    vestibule::entity::role_permission::replace(&tx, &"clerk".parse().unwrap(), held).await.unwrap();
    tx.commit().await.unwrap();
    let put = async |permissions: &[&str]| admin.put("/v1/roles/clerk", json!({ "permissions": permissions })).await;
    let refused = assert_problem!(put(&["user:read", "user:write"]).await, 422, "validation_failed");
    assert_eq!(refused.faults(), [("/permissions/1", "unknown_permission")]);
    put(&["user:read", "billing:refund"]).await.expect(200);
    put(&[]).await.expect(200);
    assert_problem!(put(&["user:read"]).await, 422, "validation_failed");
}

#[tokio::test]
async fn the_error_for_a_bad_name_names_the_character() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for (member, value, expected) in [
        ("username", "ada lovelace", "character 4 is a space"),
        ("username", "adé", "character 3 is \"é\""),
        ("username", "1ada", "character 1 is \"1\""),
        ("username", "ada\u{200B}", "character 4 is U+200B"),
        ("name", "Ada\u{202E}", "character 4 is U+202E"),
        ("email", "a da@example.org", "character 2 is a space"),
        ("email", "ada@exa_mple.org", "character 4 is \"_\""),
    ] {
        let mut body = json!({ "email": "ada@example.org" });
        body[member] = json!(value);
        let refused = assert_problem!(admin.post("/v1/users", body).await, 422, "validation_failed");
        let detail = refused.body["errors"][0]["detail"].as_str().unwrap();
        assert!(detail.contains(expected), "{value}: {detail}");
    }
    for (body, expected) in [
        (json!({ "name": "Clerk", "permissions": [] }), "character 1 is \"C\""),
        (json!({ "name": "A", "permissions": [] }), "character 1 is \"A\""),
        (json!({ "name": "clerk", "permissions": ["billing:Refund"] }), "character 9 is \"R\""),
        (json!({ "name": "é", "permissions": [] }), "character 1 is \"é\""),
    ] {
        let refused = assert_problem!(admin.post("/v1/roles", body).await, 422, "validation_failed");
        assert!(refused.body["errors"][0]["detail"].as_str().unwrap().contains(expected), "{:#}", refused.body);
    }
    for (name, code) in [(json!(""), "too_short"), (json!(7), "type"), (json!(null), "type")] {
        let body = json!({ "name": name, "permissions": [] });
        let refused = assert_problem!(admin.post("/v1/roles", body).await, 422, "validation_failed");
        let codes: Vec<_> = refused.body["errors"].as_array().unwrap().iter().map(|fault| &fault["code"]).collect();
        assert_eq!(codes, [code], "expected one fault");
    }
    let user = admin.post("/v1/users", json!({ "email": "ada@example.org" })).await.expect(201);
    let path = format!("/v1/users/{}", user["id"].as_str().unwrap());
    let refused = assert_problem!(admin.patch(&path, json!({ "status": null })).await, 422, "validation_failed");
    assert_eq!(refused.body["errors"].as_array().unwrap().len(), 1, "{:#}", refused.body);
}

#[tokio::test]
async fn h09_roles_are_listed_in_pages() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for name in ["clerk", "baker", "zebra"] {
        admin.post("/v1/roles", json!({ "name": name, "permissions": [] })).await.expect(201);
    }
    let (mut names, mut path) = (Vec::new(), "/v1/roles?limit=2".to_owned());
    loop {
        let page = admin.get(&path).await;
        let link = page.headers.get("link").map(|value| value.to_str().unwrap().to_owned());
        let body = page.expect(200);
        names.extend(body["items"].as_array().unwrap().iter().map(|role| role["name"].as_str().unwrap().to_owned()));
        assert_eq!(link.is_some(), body["next_cursor"].is_string());
        let Some(link) = link else { break };
        path = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    assert_eq!(names, ["admin", "baker", "clerk", "user", "zebra"]);
}
