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
