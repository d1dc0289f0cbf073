//! Users as an administrator sees them: complete lists, and single users.

use std::collections::BTreeSet;

use rstest::rstest;
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter};
use serde_json::{Value, json};
use vestibule::{
    domain::{
        authority::By,
        users::{self, Change},
    },
    entity::{user::Status, user_word},
};

use crate::{
    assert_problem,
    support::{
        PASSWORD, TestApp,
        caller::{Answer, Caller},
        clock::minutes,
    },
};

/// Returns the addresses on a page.
fn emails(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|user| user["email"].as_str().unwrap()).collect()
}

async fn list(caller: &Caller<'_>, query: &str) -> Value {
    caller.get(&format!("/v1/users?{query}")).await.expect(200)
}

async fn refused(caller: &Caller<'_>, query: &str) -> Answer {
    assert_problem!(caller.get(&format!("/v1/users?{query}")).await, 422, "validation_failed")
}

/// Registers users one minute apart, who never log in.
async fn crowd(app: &TestApp, names: &[&str]) {
    for name in names {
        app.clock.advance(minutes(1));
        app.register(name).await;
    }
}

#[tokio::test]
async fn a_list_shows_users_newest_first() {
    let app = TestApp::start().await;
    crowd(&app, &["grace", "ada"]).await;
    let admin = app.admin().await;
    let answer = admin.get("/v1/users").await;
    assert!(!answer.headers.contains_key("link"), "the last page has no next one");
    let page = answer.expect(200);
    assert_eq!(emails(&page), ["ada@example.org", "grace@example.org", "admin@vestibule.invalid"]);
    assert_eq!(page.get("next_cursor"), None);
    assert_eq!(page["items"][2]["roles"], json!(["admin", "user"]));
    let members: BTreeSet<_> = page["items"][0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        members,
        BTreeSet::from([
            "id",
            "email",
            "email_verified",
            "username",
            "status",
            "roles",
            "second_factor",
            "created_at",
            "updated_at"
        ])
    );
}

#[tokio::test]
async fn one_user_is_found_by_id() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    let admin = app.admin().await;
    let answer = admin.get(&format!("/v1/users/{id}")).await;
    assert!(answer.header("etag").starts_with('"'));
    assert_eq!(answer.expect(200)["email"], "ada@example.org");
    let me = app.anonymous().log_in("ada", PASSWORD).await.get("/v1/me").await;
    let seen = admin.get(&format!("/v1/users/{id}")).await;
    assert_eq!((seen.header("etag"), &seen.body), (me.header("etag"), &me.body));
    for id in ["0198c5e0-0000-7000-8000-000000000000", "1", "me", "%00", "0198c5e0000070008000000000000000", "..", "%2e%2e"] {
        assert_problem!(admin.get(&format!("/v1/users/{id}")).await, 404, "not_found");
    }
    let shout = id.to_string().to_uppercase();
    admin.get(&format!("/v1/users/{shout}")).await.expect(200);
}

/// Reads a list page by page, and calls `meanwhile` between pages. Returns the addresses.
async fn walk(caller: &Caller<'_>, query: &str, mut meanwhile: impl AsyncFnMut(usize)) -> Vec<String> {
    let (mut seen, mut path, mut pages) = (Vec::new(), format!("/v1/users?{query}"), 0);
    loop {
        let answer = caller.get(&path).await;
        let link = answer.headers.contains_key("link").then(|| answer.header("link").to_owned());
        let page = answer.expect(200);
        seen.extend(emails(&page).into_iter().map(str::to_owned));
        let Some(cursor) = page["next_cursor"].as_str() else {
            assert_eq!(link, None);
            return seen;
        };
        let next = format!("/v1/users?{query}&cursor={cursor}");
        assert_eq!(link.unwrap(), format!("<{next}>; rel=\"next\""), "the link keeps the other parameters");
        pages += 1;
        meanwhile(pages).await;
        path = next;
    }
}

#[rstest]
#[case::newest("-created_at", &["z0", "m1", "a2", "n1", "b0", "y2", "c1", "x0"])]
#[case::oldest("created_at", &["x0", "c1", "y2", "b0", "n1", "a2", "m1", "z0"])]
#[case::email("email", &["a2", "b0", "c1", "m1", "n1", "x0", "y2", "z0"])]
#[case::email_descending("-email", &["z0", "y2", "x0", "n1", "m1", "c1", "b0", "a2"])]
#[tokio::test]
async fn h09_paging_returns_every_user_once_while_users_come_and_go(#[case] sort: &str, #[case] expected: &[&str]) {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let names = ["xx0", "cc1", "yy2", "bb0", "nn1", "aa2", "mm1", "zz0"];
    // Some users register at the same moment. Their ids then determine the order, and no user may be lost.
    for (number, name) in names.iter().enumerate() {
        if number % 3 != 1 {
            app.clock.advance(minutes(1));
        }
        app.register(name).await;
    }
    let admin_address = "admin@vestibule.invalid";
    for limit in [1, 2, 3, 8, 9] {
        let walked = walk(&app.admin().await, &format!("sort={sort}&limit={limit}"), async |_| {}).await;
        let walked: Vec<_> = walked.iter().filter(|email| *email != admin_address).collect();
        assert_eq!(walked.len(), 8);
        assert_eq!(walked.iter().collect::<BTreeSet<_>>().len(), 8);
        if sort.ends_with("email") {
            let spelled: Vec<_> = expected.iter().map(|name| format!("{}{name}@example.org", &name[..1])).collect();
            assert_eq!(walked, spelled.iter().collect::<Vec<_>>());
        }
        let page = list(&admin, &format!("sort={sort}")).await;
        let mut times: Vec<_> =
            page["items"].as_array().unwrap().iter().map(|user| user["created_at"].as_str().unwrap()).collect();
        if sort == "-created_at" {
            times.reverse();
        }
        assert!(sort.ends_with("email") || times.is_sorted(), "{times:?}");
    }
    // Between pages, users register and a user already seen is deleted. Every other user is returned exactly once.
    let met = walk(&admin, &format!("sort={sort}&limit=2"), async |page| {
        app.register(&format!("newcomer{page}")).await;
        if page == 2 {
            let leaver = app.anonymous().log_in("xx0", PASSWORD).await;
            leaver.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
        }
    })
    .await;
    let distinct: BTreeSet<_> = met.iter().collect();
    assert_eq!(distinct.len(), met.len(), "no user twice");
    for name in names.iter().filter(|name| **name != "xx0") {
        assert!(distinct.contains(&format!("{name}@example.org")), "{name} was lost under {sort}");
    }
}

#[tokio::test]
async fn h09_a_cursor_is_valid_for_its_own_list_only() {
    let app = TestApp::start().await;
    crowd(&app, &["ada", "grace"]).await;
    let admin = app.admin().await;
    let sorts = ["created_at", "-created_at", "email", "-email"];
    for sort in sorts {
        let cursor = list(&admin, &format!("sort={sort}&limit=1")).await["next_cursor"].as_str().unwrap().to_owned();
        for other in sorts.iter().filter(|other| **other != sort) {
            let answer = refused(&admin, &format!("sort={other}&limit=1&cursor={cursor}")).await;
            assert_eq!(answer.faults(), [("cursor", "not_allowed")]);
        }
        for position in 0..cursor.len() {
            let mut tampered = cursor.clone().into_bytes();
            tampered[position] = if tampered[position] == b'A' { b'B' } else { b'A' };
            let tampered = String::from_utf8(tampered).unwrap();
            assert_eq!(refused(&admin, &format!("sort={sort}&cursor={tampered}")).await.faults(), [("cursor", "not_allowed")]);
        }
        for bad in ["", "x", "%00", &cursor[1..], &cursor[..cursor.len() - 1], &format!("{cursor}A"), &"A".repeat(513)] {
            assert_eq!(refused(&admin, &format!("sort={sort}&cursor={bad}")).await.faults(), [("cursor", "not_allowed")]);
        }
    }
    let other = TestApp::start().await;
    crowd(&other, &["ada", "grace"]).await;
    let foreign = list(&other.admin().await, "limit=1").await["next_cursor"].as_str().unwrap().to_owned();
    refused(&admin, &format!("cursor={foreign}")).await;
}

#[rstest]
#[case("limit=0", &["limit"])]
#[case("limit=101", &["limit"])]
#[case("limit=x", &["limit"])]
#[case("limit=", &["limit"])]
#[case("limit=-1", &["limit"])]
#[case("limit=1&limit=2", &["limit"])]
#[case("sort=name", &["sort"])]
#[case("sort=password_hash", &["sort"])]
#[case("sort=email%20desc", &["sort"])]
#[case("sort=EMAIL", &["sort"])]
#[case("status=gone", &["status"])]
#[case("role=%27", &["role"])]
#[case("role=x", &["role"])]
#[case("search=", &["search"])]
#[case("search=%00", &["search"])]
#[case("search=a&role=!&status=1&sort=1&cursor=!&limit=0", &["cursor", "limit", "role", "sort", "status"])]
#[tokio::test]
async fn h09_every_invalid_parameter_is_reported(#[case] query: &str, #[case] parameters: &[&str]) {
    let app = TestApp::start().await;
    let answer = refused(&app.admin().await, query).await;
    let named: BTreeSet<_> = answer.faults().into_iter().map(|(name, _)| name).collect();
    assert_eq!(named, parameters.iter().copied().collect());
    assert!(answer.body["errors"].as_array().unwrap().iter().all(|fault| fault["parameter"].is_string()));
}

#[rstest]
#[case("limit=0", "not_allowed", "Must be a whole number from 1 to 100.")]
#[case("sort=name", "not_allowed", "Must be one of these: created_at, -created_at, email, -email.")]
#[case("status=gone", "not_allowed", "Must be one of these: active, disabled.")]
#[case("role=x", "too_short", "A role name must have at least 2 characters.")]
#[case("cursor=!", "not_allowed", "Is not a cursor of this list.")]
#[tokio::test]
async fn the_error_for_an_invalid_parameter_describes_the_fault(#[case] query: &str, #[case] code: &str, #[case] detail: &str) {
    let app = TestApp::start().await;
    let answer = refused(&app.admin().await, query).await;
    assert_eq!(answer.faults(), [(query.split('=').next().unwrap(), code)]);
    assert_eq!(answer.body["errors"][0]["detail"], detail);
}

#[tokio::test]
async fn h09_a_page_has_25_items_by_default() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for number in 0..26 {
        app.register(&format!("user{number}")).await;
    }
    assert_eq!(emails(&list(&admin, "").await).len(), 25);
    assert_eq!(emails(&list(&admin, "limit=100").await).len(), 27);
    assert_eq!(emails(&list(&admin, "limit=1").await).len(), 1);
}

#[tokio::test]
async fn a_search_finds_beginnings_of_names_in_any_case_and_nothing_else() {
    let app = TestApp::start().await;
    for (email, username) in [
        ("ada@example.org", "countess"),
        ("adam@example.org", "first"),
        ("grace@example.org", "admiral"),
        ("o'neil%x_y@example.org", "a_b"),
        ("zed@example.org", "axb"),
    ] {
        let body = json!({ "email": email, "username": username, "password": PASSWORD });
        app.anonymous().post("/v1/accounts", body).await.expect(201);
    }
    let nameless = json!({ "email": "nameless@example.org", "password": PASSWORD });
    app.anonymous().post("/v1/accounts", nameless).await.expect(201);
    let admin = app.admin().await;
    for (search, expected) in [
        ("ada", &["ada@example.org", "adam@example.org"][..]),
        ("ADA", &["ada@example.org", "adam@example.org"]),
        ("ada%40", &["ada@example.org"]),
        ("adm", &["admin@vestibule.invalid", "grace@example.org"]),
        ("COUNT", &["ada@example.org"]),
        ("example", &[]),
        ("%25", &[]),
        ("_", &[]),
        ("a_", &["o'neil%x_y@example.org"]),
        ("o%27", &["o'neil%x_y@example.org"]),
        ("o'neil%25x_", &["o'neil%x_y@example.org"]),
        ("o_neil", &[]),
        ("%27 OR 1=1 --", &[]),
        ("*", &[]),
        ("nameless", &["nameless@example.org"]),
        ("%C3%A4", &[]),
    ] {
        let page = list(&admin, &format!("sort=email&search={}", search.replace(' ', "%20"))).await;
        assert_eq!(emails(&page), expected, "{search}");
    }
}

#[rstest]
#[case("eva@exämple.org")]
#[case(" EVA@EXÄMPLE.ORG\u{A0}")]
#[case("eva@xn--exmple-cua.org")]
#[case("Eva@XN--EXM")]
#[case("eva@exa\u{308}m")]
#[case("eva@exämple.o")]
#[case("eva@ｅｘämple。ｏｒｇ")]
#[case("EVA-M")]
#[case("bräu")]
#[case("JOHANNA")]
#[case("meier-bräu joh")]
#[case("STRAUSS")]
#[tokio::test]
async fn p04_a_search_finds_an_account_by_every_spelling_of_its_address_and_every_word_of_its_name(#[case] search: &str) {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let eva = json!({ "email": "Eva@Exämple.org", "username": "Eva-M", "name": "Strauß Meier-Bra\u{308}u  Johanna" });
    admin.post("/v1/users", eva).await.expect(201);
    admin.post("/v1/users", json!({ "email": "evan@example.org", "name": "Ana Brau" })).await.expect(201);
    let query = percent_encoded(search);
    assert_eq!(emails(&list(&admin, &format!("search={query}")).await), ["eva@xn--exmple-cua.org"]);
}

fn percent_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[tokio::test]
async fn a_search_follows_every_change_of_a_name_and_forgets_a_deleted_account() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let ada = app.user("ada").await;
    let found = async |search: &str| list(&admin, &format!("search={search}&total=true")).await["total"].clone();
    assert_eq!(found("lovelace").await, 0);
    ada.patch("/v1/me", json!({ "name": "Ada Lovelace" })).await.expect(200);
    assert_eq!([found("lovelace").await, found("byron").await], [1, 0]);
    let id = ada.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    admin.patch(&format!("/v1/users/{id}"), json!({ "name": "Augusta Byron" })).await.expect(200);
    assert_eq!([found("lovelace").await, found("byron").await], [0, 1]);
    admin.patch(&format!("/v1/users/{id}"), json!({ "email": "augusta@exämple.org" })).await.expect(200);
    assert_eq!([found("augusta%40ex%C3%A4").await, found("ada%40").await, found("byron").await], [1, 0, 1]);
    admin.patch(&format!("/v1/users/{id}"), json!({ "name": null })).await.expect(200);
    assert_eq!(found("byron").await, 0);
    admin.patch(&format!("/v1/users/{id}"), json!({ "name": "Ada Byron" })).await.expect(200);
    ada.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
    assert_eq!([found("byron").await, found("augusta").await], [0, 0]);
    let db = &app.app.db;
    assert_eq!(user_word::Entity::find().filter(user_word::COLUMN.word.contains("byron")).count(db.read()).await.unwrap(), 0);
}

#[tokio::test]
async fn a_list_contains_the_total_number_of_users_on_request() {
    let app = TestApp::start().await;
    crowd(&app, &["ada", "adam", "grace"]).await;
    let admin = app.admin().await;
    for (query, total) in [
        ("total=true", json!(4)),
        ("total=true&limit=1", json!(4)),
        ("total=true&search=ada", json!(2)),
        ("total=true&search=ada&limit=1", json!(2)),
        ("total=true&search=nobody", json!(0)),
        ("total=true&role=admin", json!(1)),
        ("total=true&role=user&status=active&search=ad", json!(3)),
        ("total=true&status=disabled", json!(0)),
        ("total=false", Value::Null),
        ("", Value::Null),
    ] {
        assert_eq!(list(&admin, query).await["total"], total, "{query}");
    }
    assert_eq!(refused(&admin, "total=1").await.faults(), [("total", "not_allowed")]);
}

#[tokio::test]
async fn a_total_above_ten_thousand_is_absent() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let now = "2026-01-01T00:00:00+00:00";
    // PostgreSQL reads an id as text, SQLite as a blob.
    let blob = if app.app.settings.database.url.is_some() { "" } else { "X" };
    let add = async |from: u32, to: u32| {
        let rows: Vec<_> = (from..to)
            .map(|number| format!("({blob}'{number:032x}', 'many{number}@example.org', 'active', 0, 0, '{now}', '{now}')"))
            .collect();
        let rows = rows.join(",");
        let insert = "INSERT INTO users (id, email, status, epoch, revision, created_at, updated_at) VALUES";
        let tx = app.app.db.write_in_background().await.unwrap();
        tx.execute_unprepared(&format!("{insert} {rows}")).await.unwrap();
        tx.commit().await.unwrap();
    };
    add(0, 9_999).await;
    assert_eq!(list(&admin, "total=true").await["total"], 10_000);
    assert_eq!(list(&admin, "total=true&search=many").await["total"], 9_999);
    add(9_999, 10_001).await;
    assert_eq!(list(&admin, "total=true").await.get("total"), None);
    assert_eq!(list(&admin, "total=true&search=many").await.get("total"), None);
    assert_eq!(emails(&list(&admin, "total=true&search=many99&limit=100").await).len(), 100);
}

#[tokio::test]
async fn a_list_is_filtered_by_role_and_status_and_both() {
    let app = TestApp::start().await;
    app.holding("ada", &["users:read"]).await;
    let eve = app.register("eve").await;
    let change = Change { status: Some(Status::Disabled), ..Change::default() };
    users::update(&app.app, By::Operator, eve, change, None).await.unwrap();
    let admin = app.admin().await;
    for (query, expected) in [
        ("role=admin", &["admin@vestibule.invalid"][..]),
        ("role=user", &["admin@vestibule.invalid", "eve@example.org"]),
        ("role=role-ada", &["ada@example.org"]),
        ("role=unheard-of", &[]),
        ("status=disabled", &["eve@example.org"]),
        ("status=active", &["ada@example.org", "admin@vestibule.invalid"]),
        ("status=active&role=user", &["admin@vestibule.invalid"]),
        ("status=active&role=user&search=adm", &["admin@vestibule.invalid"]),
        ("status=disabled&role=user&search=adm", &[]),
    ] {
        assert_eq!(emails(&list(&admin, &format!("sort=email&{query}")).await), expected, "{query}");
        let walked = walk(&admin, &format!("sort=email&{query}&limit=1"), async |_| {}).await;
        assert_eq!(walked, expected, "{query}");
    }
}

#[tokio::test]
async fn a_misspelt_parameter_is_refused() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let refused = assert_problem!(admin.get("/v1/users?stauts=disabled&limit=0&%3Cb%3E=1").await, 422, "validation_failed");
    assert_eq!(refused.faults(), [("stauts", "unknown_parameter"), ("", "unknown_parameter"), ("limit", "not_allowed")]);
    let refused = admin.delete("/v1/me/sessions?except_curent=true", json!(null)).await;
    assert_problem!(refused, 422, "validation_failed");
    admin.get("/v1/me").await.expect(200);
}
