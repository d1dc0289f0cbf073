//! Options: what a page learns of the service before anybody is logged in.

use serde_json::json;
use vestibule::values::registration_mode::RegistrationMode;

use crate::support::TestApp;

#[tokio::test]
async fn the_options_are_the_settings_that_a_page_needs() {
    let app = TestApp::start().await;
    let expected = json!({
        "name": "Vestibule", "registration": "open", "mail": true, "passkeys": false, "password_min_length": 8,
        "languages": ["en", "de"], "return_to": [],
    });
    assert_eq!(app.anonymous().get("/v1/options").await.expect(200), expected);
    let app = TestApp::start_with(|settings| {
        settings.mail.from = Some("Example & Söhne <id@example.org>".parse().unwrap());
        settings.mail.transport = Some("log".parse().unwrap());
        settings.registration.mode = RegistrationMode::Invited;
        settings.password.min_length = 12;
    })
    .await;
    let expected = json!({
        "name": "Example & Söhne", "registration": "invited", "mail": false, "passkeys": false, "password_min_length": 12,
        "languages": ["en", "de"], "return_to": [],
    });
    assert_eq!(app.bearer("not-a-token").get("/v1/options").await.expect(200), expected);
}

#[tokio::test]
async fn a_page_learns_the_name_the_colour_and_where_people_may_return_to() {
    let app = TestApp::start_with(|settings| {
        settings.mail.from = Some("Example by mail <id@example.org>".parse().unwrap());
        settings.account_pages.name = Some("Example".parse().unwrap());
        settings.account_pages.accent = Some("#7B1FA2".parse().unwrap());
        settings.account_pages.return_to =
            vec!["https://app.example.org".parse().unwrap(), "https://example.org".parse().unwrap()];
    })
    .await;
    let options = app.anonymous().get("/v1/options").await.expect(200);
    assert_eq!((&options["name"], &options["accent"]), (&json!("Example"), &json!("#7b1fa2")));
    assert_eq!(options["return_to"], json!(["https://app.example.org", "https://example.org"]));
}
