//! Invitations: administrators invite people, who create their account with a mailed link. Nobody gains or gives more than the
//! administrator holds.

use std::time::Duration;

use serde_json::{Value, json};
use vestibule::values::registration_mode::RegistrationMode;

use crate::{
    assert_problem,
    password_resets::assert_fault,
    support::{
        PASSWORD, TestApp,
        caller::{Answer, Caller},
        clock::minutes,
    },
};

const GRACE: &str = "grace@example.org";

async fn invite(caller: &Caller<'_>, roles: &[&str]) -> Answer {
    caller.post("/v1/invitations", json!({ "email": GRACE, "roles": roles })).await
}

/// Invites Grace, and returns the path of the invitation and the token of the link. A minute passes, so that the next mail is
/// newer.
async fn invited(app: &TestApp, caller: &Caller<'_>, roles: &[&str]) -> (String, String) {
    let invitation = invite(caller, roles).await.expect(201);
    let token = link(app).await;
    app.clock.advance(minutes(1));
    (format!("/v1/invitations/{}", invitation["id"].as_str().unwrap()), token)
}

/// Returns the token of the link in the newest invitation of Grace.
async fn link(app: &TestApp) -> String {
    app.mail("invite", GRACE).await.token().to_owned()
}

async fn accept(app: &TestApp, token: &str) -> Answer {
    app.anonymous().post("/v1/invitations/accept", json!({ "token": token, "password": PASSWORD })).await
}

async fn listed(caller: &Caller<'_>) -> Vec<Value> {
    let page = caller.get("/v1/invitations").await.expect(200);
    page["items"].as_array().unwrap().clone()
}

async fn id(caller: &Caller<'_>) -> String {
    caller.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_person_who_is_invited_chooses_a_password_and_has_the_roles_of_the_invitation() {
    for mode in RegistrationMode::ALL {
        let app = TestApp::start_with(|settings| settings.registration.mode = *mode).await;
        let admin = app.admin().await;
        let body = json!({ "email": "Grace@Example.org", "name": "Grace Hopper", "roles": ["admin", "user"], "language": "de" });
        let invitation = admin.post("/v1/invitations", body).await.expect(201);
        let expected = json!({
            "id": invitation["id"], "email": GRACE, "name": "Grace Hopper", "roles": ["admin", "user"], "language": "de",
            "created_by": id(&admin).await, "created_at": "2026-01-01T00:00:00.000000Z",
            "expires_at": "2026-01-08T00:00:00.000000Z",
        });
        assert_eq!(invitation, expected);
        assert_eq!(listed(&admin).await, [expected]);
        let mail = app.mail("invite", GRACE).await;
        assert_eq!((mail.language.as_str(), &mail.code), ("de", &None));
        assert!(mail.text.contains("Grace Hopper"), "{}", mail.text);
        let read = app.anonymous().post("/v1/tickets/read", json!({ "token": mail.token() })).await.expect(200);
        let expected = json!({
            "purpose": "invite", "email": GRACE, "name": "Grace Hopper", "language": "de",
            "factors": [], "expires_at": "2026-01-08T00:00:00.000000Z",
        });
        assert_eq!(read, expected);

        app.clock.advance(minutes(5));
        let done = accept(&app, mail.token()).await;
        assert!(!done.headers.contains_key("set-cookie"));
        let user = done.expect(201);
        for (member, expected) in [
            ("email", json!(GRACE)),
            ("email_verified", json!(true)),
            ("name", json!("Grace Hopper")),
            ("language", json!("de")),
            ("roles", json!(["admin", "user"])),
        ] {
            assert_eq!(user[member], expected, "{member}");
        }
        app.anonymous().log_in(GRACE, PASSWORD).await.get("/v1/users").await.expect(200);
        assert_fault(&accept(&app, mail.token()).await, "/token", "spent_ticket");
        assert_eq!(listed(&admin).await[0]["accepted_at"], "2026-01-01T00:05:00.000000Z");
        let created = app.event("invitation.created").await;
        assert_eq!(created.subject_id.as_deref(), invitation["id"].as_str());
        let accepted = app.event("invitation.accepted").await;
        assert_eq!((accepted.subject_id.as_deref(), &accepted.details.0["invitation"]), (user["id"].as_str(), &invitation["id"]));
    }
}

#[tokio::test]
async fn the_person_may_choose_another_name_and_a_username_and_needs_a_good_password() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let (_, token) = invited(&app, &admin, &["user"]).await;
    let with = async |members: Value| {
        let mut body = json!({ "token": token, "password": PASSWORD });
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        app.anonymous().post("/v1/invitations/accept", body).await
    };
    assert_fault(&with(json!({ "password": GRACE })).await, "/password", "contains_identity");
    assert_problem!(with(json!({ "username": "admin" })).await, 409, "username_taken");
    let user = with(json!({ "username": "grace", "name": "Grace" })).await.expect(201);
    assert_eq!((&user["username"], &user["name"], &user["roles"]), (&json!("grace"), &json!("Grace"), &json!(["user"])));
}

#[tokio::test]
async fn a05_nobody_invites_to_roles_whose_permissions_they_lack() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    admin.post("/v1/roles", json!({ "name": "cashier", "permissions": ["billing:refund"] })).await.expect(201);
    let writer = app.holding("writer", &["users:write"]).await;
    let answer = assert_problem!(invite(&writer, &["cashier"]).await, 403, "insufficient_permission");
    assert_eq!(answer.body["required_permission"], "roles:assign");
    let assigner = app.holding("assigner", &["users:write", "roles:assign"]).await;
    for roles in [["cashier"], ["admin"]] {
        assert_problem!(invite(&assigner, &roles).await, 403, "escalation_denied");
    }
    assert_fault(&invite(&admin, &["user", "nothing"]).await, "/roles/1", "unknown_role");
    assert_eq!(app.mails().await.len(), 0);

    // Nor do they touch an invitation to such roles.
    let (path, token) = invited(&app, &admin, &["cashier"]).await;
    for caller in [&writer, &assigner] {
        assert_problem!(invite(caller, &["user"]).await, 403, "escalation_denied");
        assert_problem!(caller.delete(&path, json!(null)).await, 403, "escalation_denied");
        assert_problem!(caller.post(&format!("{path}/resend"), json!(null)).await, 403, "escalation_denied");
    }
    let cashier = app.holding("cashier", &["users:write", "roles:assign", "billing:refund"]).await;
    let (_, other) = invited(&app, &cashier, &["user"]).await;
    assert_fault(&accept(&app, &token).await, "/token", "spent_ticket");
    assert_eq!(accept(&app, &other).await.expect(201)["roles"], json!(["user"]));
}

#[tokio::test]
async fn a05_an_invitation_gives_nothing_that_its_administrator_could_no_longer_give() {
    for change in ["none", "disabled", "deleted", "demoted", "cannot assign", "cannot write", "role extended", "role deleted"] {
        let app = TestApp::start().await;
        let admin = app.admin().await;
        admin.post("/v1/roles", json!({ "name": "cashier", "permissions": ["billing:refund"] })).await.expect(201);
        let chief = app.holding("chief", &["users:write", "roles:assign", "billing:refund"]).await;
        let (path, token) = invited(&app, &chief, &["cashier"]).await;
        let user = format!("/v1/users/{}", id(&chief).await);
        let permissions = |names: &[&str]| json!({ "permissions": names });
        match change {
            "none" => json!(null),
            "disabled" => admin.patch(&user, json!({ "status": "disabled" })).await.expect(200),
            "deleted" => admin.delete(&user, json!(null)).await.expect(204),
            "demoted" => admin.put(&format!("{user}/roles"), json!({ "roles": ["user"] })).await.expect(200),
            "cannot assign" => {
                admin.put("/v1/roles/role-chief", permissions(&["users:write", "billing:refund"])).await.expect(200)
            }
            "cannot write" => {
                admin.put("/v1/roles/role-chief", permissions(&["roles:assign", "billing:refund"])).await.expect(200)
            }
            "role extended" => {
                admin.put("/v1/roles/cashier", permissions(&["billing:refund", "billing:close"])).await.expect(200)
            }
            "role deleted" => admin.delete("/v1/roles/cashier", json!(null)).await.expect(204),
            other => panic!("{other}"),
        };
        if change == "none" {
            accept(&app, &token).await.expect(201);
            continue;
        }
        let rows = app.rows().await;
        for _ in 0..2 {
            assert_problem!(accept(&app, &token).await, 403, "escalation_denied");
            assert_problem!(admin.post(&format!("{path}/resend"), json!(null)).await, 403, "escalation_denied");
        }
        assert_eq!(app.rows().await, rows, "{change}");
        // Another administrator can invite instead.
        let (_, token) = invited(&app, &admin, &["user"]).await;
        accept(&app, &token).await.expect(201);
    }
}

#[tokio::test]
async fn a_second_invitation_replaces_the_first() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let (path, token) = invited(&app, &admin, &["admin"]).await;
    let (other_path, other_token) = invited(&app, &admin, &["user"]).await;
    assert_ne!((&path, &token), (&other_path, &other_token));
    assert_eq!(listed(&admin).await.len(), 1);
    assert_fault(&accept(&app, &token).await, "/token", "spent_ticket");
    assert_problem!(admin.delete(&path, json!(null)).await, 404, "not_found");
    assert_eq!(accept(&app, &other_token).await.expect(201)["roles"], json!(["user"]));
}

#[tokio::test]
async fn a_revoked_invitation_is_gone_and_its_link_does_not_work() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let (path, token) = invited(&app, &admin, &["user"]).await;
    admin.delete(&path, json!(null)).await.expect(204);
    assert_eq!(listed(&admin).await, [json!(null); 0]);
    assert_fault(&accept(&app, &token).await, "/token", "spent_ticket");
    assert_problem!(admin.delete(&path, json!(null)).await, 404, "not_found");
    assert_problem!(admin.post(&format!("{path}/resend"), json!(null)).await, 404, "not_found");
    app.event("invitation.revoked").await;
    let (path, token) = invited(&app, &admin, &["user"]).await;
    accept(&app, &token).await.expect(201);
    assert_problem!(admin.delete(&path, json!(null)).await, 409, "already_accepted");
    assert_problem!(admin.post(&format!("{path}/resend"), json!(null)).await, 409, "already_accepted");
}

#[tokio::test]
async fn an_invitation_that_is_sent_again_has_the_same_link_until_it_expires() {
    let app = TestApp::start().await;
    let days = |days: u64| Duration::from_hours(24 * days);
    let (path, token) = invited(&app, &app.admin().await, &["user"]).await;
    let resend = async || app.admin().await.post(&format!("{path}/resend"), json!(null)).await.expect(202);
    app.clock.advance(days(6));
    resend().await;
    assert_eq!(link(&app).await, token);
    assert_eq!(listed(&app.admin().await).await[0]["expires_at"], "2026-01-14T00:01:00.000000Z");
    app.clock.advance(days(7));
    assert_fault(&accept(&app, &token).await, "/token", "expired_ticket");
    // The limits of the recipient do not count for administrators.
    for _ in 0..8 {
        resend().await;
    }
    let other = link(&app).await;
    assert_ne!(other, token);
    assert_eq!(listed(&app.admin().await).await[0]["expires_at"], "2026-01-21T00:01:00.000000Z");
    accept(&app, &other).await.expect(201);
}

#[tokio::test]
async fn whoever_is_invited_and_requests_a_reset_gets_the_invitation_again() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let (path, token) = invited(&app, &admin, &["user"]).await;
    let sent = app.mails().await.len();
    let reset = async || app.anonymous().post("/v1/password-resets", json!({ "identifier": GRACE })).await.expect(202);
    let pending = reset().await;
    assert_eq!((app.mails().await.len(), link(&app).await), (sent + 1, token));
    assert_eq!(pending["expires_in"], 1_800);
    app.clock.advance(minutes(2));
    admin.delete(&path, json!(null)).await.expect(204);
    reset().await;
    assert_eq!(app.mails().await.len(), sent + 1, "a revoked invitation is not sent");
}

#[tokio::test]
async fn an_address_that_has_an_account_is_not_invited() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let (path, token) = invited(&app, &admin, &["admin"]).await;
    let grace = app.user("grace").await;
    assert_problem!(invite(&admin, &["user"]).await, 409, "email_taken");
    assert_problem!(accept(&app, &token).await, 409, "email_taken");
    assert_problem!(admin.post(&format!("{path}/resend"), json!(null)).await, 409, "already_accepted");
    app.anonymous().post("/v1/password-resets", json!({ "identifier": GRACE })).await.expect(202);
    app.mail("reset", GRACE).await;
    // A forgotten link does not make an administrator of somebody whose account was deleted.
    admin.delete(&format!("/v1/users/{}", id(&grace).await), json!(null)).await.expect(204);
    assert_fault(&accept(&app, &token).await, "/token", "spent_ticket");
}

#[tokio::test]
async fn without_a_transport_nobody_is_invited() {
    let app = TestApp::start().await;
    let (path, token) = invited(&app, &app.admin().await, &["user"]).await;
    let app = app.replica_with(|settings| settings.mail.transport = Some("none".parse().unwrap())).await;
    let admin = app.admin().await;
    let other = json!({ "email": "ida@example.org" });
    assert_problem!(admin.post("/v1/invitations", other).await, 403, "mail_unavailable");
    assert_problem!(admin.post(&format!("{path}/resend"), json!(null)).await, 403, "mail_unavailable");
    accept(&app, &token).await.expect(201);
}

#[tokio::test]
async fn an_invitation_that_is_accepted_many_times_at_once_creates_one_account() {
    let app = TestApp::start().await;
    let (_, token) = invited(&app, &app.admin().await, &["user"]).await;
    let answers = futures_util::future::join_all((0..8).map(|_| accept(&app, &token))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);
    assert!(answers.iter().all(|answer| [201, 409, 422].contains(&answer.status)));
}

#[tokio::test]
async fn invitations_are_listed_newest_first_until_a_month_after_they_expired() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for name in ["a", "b", "c"] {
        let body = json!({ "email": format!("{name}@example.org") });
        admin.post("/v1/invitations", body).await.expect(201);
        app.clock.advance(minutes(1));
    }
    let (mut path, mut seen) = ("/v1/invitations?limit=2".to_owned(), Vec::new());
    loop {
        let page = admin.get(&path).await.expect(200);
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["email"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/invitations?limit=2&cursor={cursor}");
    }
    assert_eq!(seen, ["c@example.org", "b@example.org", "a@example.org"]);
    for (days, left) in [(7 + 30, 3), (2, 0)] {
        app.clock.advance(Duration::from_hours(24 * days));
        vestibule::jobs::purge(&app.app).await;
        assert_eq!(listed(&app.admin().await).await.len(), left);
    }
}
