//! The outbox: what administrators see of it, and when its mails are sent.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Duration};

use futures_util::poll;
use poem::http::Method;
use serde_json::{Value, json};
use tokio::{sync::Notify, time::timeout};
use vestibule::{
    config::{MailTransport, Settings, SmtpTls},
    domain::mail::{self, outbox, sending},
    live::mail::SendError,
};

use crate::{
    assert_problem,
    support::{
        PASSWORD, TestApp,
        caller::Caller,
        clock::minutes,
        mail_server::{
            Answer::{Close, Say},
            MailServer, Script,
        },
    },
    throttle::{self, ELSEWHERE, HOME},
};

/// Sends a test mail to `name@example.org`.
async fn send_test(admin: &Caller<'_>, name: &str) {
    admin.post("/v1/mails/test", json!({ "to": format!("{name}@example.org") })).await.expect(202);
}

/// Returns the mails that an administrator sees, newest first.
async fn listed(admin: &Caller<'_>, query: &str) -> Vec<Value> {
    admin.get(&format!("/v1/mails{query}")).await.expect(200)["items"].as_array().unwrap().clone()
}

/// Leases every mail that is due and lets each attempt fail. Returns how many there were.
async fn fail(app: &TestApp, error: impl Fn(String) -> SendError) -> usize {
    let leased = sending::lease(&app.app).await.unwrap();
    let count = leased.len();
    for mail in leased {
        sending::record(&app.app, mail, Err(error("the reason".to_owned()))).await.unwrap();
    }
    count
}

/// Changes the settings of a service: its mails go to this server.
fn send_to(settings: &mut Settings, mail_server: &MailServer) {
    settings.server.public_url = Some("https://id.example.org".parse().unwrap());
    settings.mail.transport = Some(MailTransport::Smtp);
    settings.mail.from = Some("id@example.org".parse().unwrap());
    settings.mail.smtp.host = Some("127.0.0.1".to_owned());
    settings.mail.smtp.port = Some(mail_server.port);
    settings.mail.smtp.tls = SmtpTls::None;
}

#[tokio::test]
async fn a_test_mail_is_sent_in_the_background_and_listed_without_its_text() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    admin.post("/v1/mails/test", json!({ "to": "Grace@Example.ORG", "language": "de" })).await.expect(202);
    let queued = listed(&admin, "").await;
    assert_eq!(queued.len(), 1);
    assert_eq!(
        queued[0],
        json!({
            "id": queued[0]["id"], "kind": "test", "to": "grace@example.org", "state": "queued", "attempts": 0,
            "created_at": "2026-01-01T00:00:00.000000Z", "next_at": "2026-01-01T00:00:00.000000Z",
        })
    );
    let event = app.event("mail.test_sent").await;
    assert_eq!((event.subject_type.as_deref(), event.subject_id.as_deref()), (Some("mail"), queued[0]["id"].as_str()));
    app.clock.advance(Duration::from_secs(1));
    let mail = app.mail("test", "grace@example.org").await;
    assert_eq!((mail.language.as_str(), mail.token, mail.code), ("de", None, None));
    let sent = listed(&admin, "").await.remove(0);
    assert_eq!((&sent["state"], &sent["attempts"]), (&json!("sent"), &json!(1)));
    assert_eq!((&sent["sent_at"], sent.get("next_at")), (&json!("2026-01-01T00:00:01.000000Z"), None));
    send_test(&admin, "ada").await;
    assert_eq!(app.mail("test", "ada@example.org").await.language, "en");
}

#[tokio::test]
async fn the_list_of_mails_is_filtered_and_paged() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for name in ["one", "two", "three"] {
        send_test(&admin, name).await;
        app.clock.advance(Duration::from_secs(1));
    }
    app.send_due_mails().await;
    send_test(&admin, "four").await;
    let names = async |query: &str| {
        let to = |mail: &Value| mail["to"].as_str().unwrap().trim_end_matches("@example.org").to_owned();
        listed(&admin, query).await.iter().map(to).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["four", "three", "two", "one"]);
    assert_eq!(names("?state=queued").await, ["four"]);
    assert_eq!(names("?state=sent&kind=test").await, ["three", "two", "one"]);
    assert_eq!(names("?kind=reset").await, [""; 0]);
    let page = admin.get("/v1/mails?limit=3").await.expect(200);
    let next = page["next_cursor"].as_str().unwrap();
    assert_eq!(names(&format!("?limit=3&cursor={next}")).await, ["one"]);
}

#[tokio::test]
async fn a_mail_is_sent_by_one_of_two_servers() {
    let app = TestApp::start().await;
    let (admin, replica) = (app.admin().await, app.replica().await);
    for number in 0..12 {
        send_test(&admin, &format!("user{number}")).await;
    }
    let (mut here, mut there) = (0, 0);
    loop {
        let (one, other) = tokio::join!(sending::lease(&app.app), sending::lease(&replica.app));
        let (one, other) = (one.unwrap(), other.unwrap());
        if one.is_empty() && other.is_empty() {
            break;
        }
        (here, there) = (here + one.len(), there + other.len());
        for (server, leased) in [(&app, one), (&replica, other)] {
            for mail in leased {
                sending::deliver(&server.app, mail).await;
            }
        }
    }
    assert_eq!(here + there, 12);
    assert!(app.mail_rows().await.iter().all(|mail| mail.attempts == 1 && mail.sent_at.is_some()));
}

/// The real jobs of two servers compete for the same mails.
#[tokio::test]
async fn m02_two_servers_send_each_mail_once() {
    let mail_server = MailServer::start(Script::default());
    let app = TestApp::start_with(|settings| send_to(settings, &mail_server)).await;
    let (admin, replica) = (app.admin().await, app.replica().await);
    let jobs = [&app, &replica].map(|server| (vestibule::jobs::start(&server.app), server));
    for number in 0..40 {
        send_test(&admin, &format!("user{number}")).await;
    }
    let is_done = async || app.mail_rows().await.iter().all(|mail| mail.sent_at.is_some());
    while !is_done().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (jobs, server) in jobs {
        server.app.stopping.cancel();
        vestibule::jobs::stop(jobs, &server.app).await;
    }
    let recipients: Vec<_> = mail_server.mails().into_iter().map(|mail| mail.to).collect();
    assert_eq!(recipients.len(), 40);
    assert_eq!(recipients.into_iter().collect::<BTreeSet<_>>().len(), 40);
}

#[tokio::test]
async fn the_mail_of_a_server_that_died_is_sent_by_another_one_with_the_same_id() {
    let app = TestApp::start().await;
    let replica = app.replica().await;
    send_test(&app.admin().await, "ada").await;
    let lost = sending::lease(&app.app).await.unwrap();
    assert_eq!(lost.len(), 1);
    app.clock.advance(Duration::from_secs(119));
    assert_eq!(sending::lease(&replica.app).await.unwrap().len(), 0, "the lease still runs");
    app.clock.advance(Duration::from_secs(1));
    replica.send_due_mails().await;
    let sent = app.mail_rows().await;
    assert_eq!((sent.len(), sent[0].attempts), (1, 2));
    // The server was only slow: its outcome comes too late and changes nothing.
    for mail in lost {
        sending::record(&app.app, mail, Err(SendError::Refused("the reason".to_owned()))).await.unwrap();
    }
    assert_eq!(app.mail_rows().await, sent);
}

#[tokio::test]
async fn m06_a_mail_that_fails_for_now_is_tried_again_for_a_day() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    send_test(&admin, "ada").await;
    let mut waits = Vec::new();
    loop {
        assert_eq!(fail(&app, SendError::Temporary).await, 1);
        let mail = app.mail_rows().await.remove(0);
        let Some(next_at) = mail.next_at else { break };
        let wait = (next_at - vestibule::live::clock::Clock::now(&*app.clock)).to_std().unwrap();
        waits.push(wait.as_secs());
        app.clock.advance(wait.saturating_sub(Duration::from_micros(1)));
        assert_eq!(fail(&app, SendError::Temporary).await, 0, "too early");
        app.clock.advance(Duration::from_micros(1));
    }
    assert_eq!(waits, [30, 120, 600, 1_800, 3_600, 7_200, 14_400, 14_400, 14_400, 14_400, 14_400]);
    let admin = app.admin().await;
    let failed = listed(&admin, "?state=failed").await.remove(0);
    assert_eq!((&failed["attempts"], &failed["last_error"]), (&json!(12), &json!("the reason")));
    let retry = format!("/v1/mails/{}/retry", failed["id"].as_str().unwrap());
    admin.post(&retry, json!(null)).await.expect(202);
    app.mail("test", "ada@example.org").await;
    assert_problem!(admin.post(&retry, json!(null)).await, 409, "already_sent");
    assert_eq!(app.event("mail.retried").await.subject_id.as_deref(), failed["id"].as_str());
}

#[tokio::test]
async fn m06_a_refused_mail_fails_at_once_and_delays_no_other() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for name in ["one", "two", "three", "four", "five"] {
        send_test(&admin, name).await;
    }
    assert_eq!(fail(&app, SendError::Refused).await, 4);
    assert_eq!(listed(&admin, "?state=failed").await.len(), 4);
    app.mail("test", "five@example.org").await;
}

#[tokio::test]
async fn m06_a_mail_whose_outcome_is_lost_is_sent_again_with_the_same_id_and_a_refused_one_is_not() {
    let answers = vec![("RCPT", 2, Say("550 5.1.1 no such user")), (".", 2, Close)];
    let mail_server = MailServer::start(Script { answers, ..Script::default() });
    let app = TestApp::start_with(|settings| send_to(settings, &mail_server)).await;
    let admin = app.admin().await;
    for number in 0..5 {
        send_test(&admin, &format!("user{number}")).await;
    }
    let count = async |state: &str| listed(&admin, &format!("?state={state}")).await.len();
    app.send_due_mails().await;
    assert_eq!((count("sent").await, count("failed").await, count("queued").await), (3, 1, 1));
    app.clock.advance(Duration::from_secs(30));
    app.send_due_mails().await;
    assert_eq!((count("sent").await, count("failed").await), (4, 1));
    // The mail server took one mail twice, because it did not say so the first time.
    let ids: Vec<_> =
        mail_server.mails().iter().map(|mail| mail.message.split_once("Message-ID: ").unwrap().1[..40].to_owned()).collect();
    assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (5, 4));
}

#[tokio::test]
async fn m06_while_the_mail_server_is_down_one_mail_is_tried_every_half_minute_and_then_all_are_sent() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for number in 0..10 {
        send_test(&admin, &format!("user{number}")).await;
    }
    assert_eq!(fail(&app, SendError::Transport).await, 4);
    assert_eq!(fail(&app, SendError::Transport).await, 0);
    app.clock.advance(Duration::from_secs(30));
    assert_eq!(fail(&app, SendError::Transport).await, 1);
    app.clock.advance(Duration::from_secs(29));
    assert_eq!(fail(&app, SendError::Transport).await, 0);
    app.clock.advance(Duration::from_secs(1));
    let leased = sending::lease(&app.app).await.unwrap();
    assert_eq!(leased.len(), 1);
    for mail in leased {
        sending::deliver(&app.app, mail).await;
    }
    // The others are sent at once, also those that wait for their next attempt.
    app.send_due_mails().await;
    assert_eq!(listed(&admin, "?state=sent").await.len(), 10);
}

#[tokio::test]
async fn mails_above_the_limit_of_an_hour_wait() {
    let app = TestApp::start_with(|settings| settings.mail.max_per_hour = 5).await;
    let admin = app.admin().await;
    for number in 0..7 {
        send_test(&admin, &format!("user{number}")).await;
    }
    app.send_due_mails().await;
    assert_eq!(listed(&admin, "?state=sent").await.len(), 5);
    app.clock.advance(minutes(60));
    let admin = app.admin().await;
    app.send_due_mails().await;
    assert_eq!(listed(&admin, "?state=sent").await.len(), 7);
}

#[tokio::test]
async fn verifications_leave_two_fifths_of_the_limit_to_other_mails() {
    let app = TestApp::start_with(|settings| settings.mail.max_per_hour = 5).await;
    let admin = app.admin().await;
    for number in 0..5 {
        let user = app.user(&format!("user{number}")).await;
        user.post("/v1/me/email/verification", json!(null)).await.expect(202);
    }
    app.send_due_mails().await;
    assert_eq!(listed(&admin, "?kind=verify&state=sent").await.len(), 3);
    for name in ["one", "two", "three"] {
        send_test(&admin, name).await;
    }
    app.send_due_mails().await;
    assert_eq!(listed(&admin, "?kind=test&state=sent").await.len(), 2);
    assert_eq!(listed(&admin, "?state=queued").await.len(), 3);
}

#[tokio::test]
async fn m05_a_flood_of_requests_does_not_delay_a_reset_that_is_requested_from_a_known_network() {
    let app = TestApp::start_with(|settings| {
        settings.mail.max_per_hour = 5;
        settings.throttle.enabled = true;
    })
    .await;
    for name in ["one", "two", "three", "four", "five", "six", "ada", "grace"] {
        app.register(name).await;
    }
    let send = |network, path, body| throttle::send(&app, network, Method::POST, path, None, body);
    let log_in = json!({ "identifier": "ada", "password": PASSWORD });
    send(HOME, "/v1/sessions", log_in).await.expect(201);
    for (network, name) in ["one", "two", "three", "four", "five", "six"]
        .map(|name| (ELSEWHERE, name))
        .into_iter()
        .chain([(HOME, "grace"), (HOME, "ada")])
    {
        send(network, "/v1/password-resets", json!({ "identifier": name })).await.expect(202);
        app.clock.advance(Duration::from_secs(1));
    }
    let sent: Vec<_> = app.mails().await.into_iter().map(|mail| mail.to).collect();
    assert_eq!(sent, ["one", "two", "three", "ada"].map(|name| format!("{name}@example.org")));
}

#[tokio::test]
async fn a_mail_that_is_being_sent_is_not_queued_again() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    send_test(&admin, "ada").await;
    let leased = sending::lease(&app.app).await.unwrap();
    let mail = listed(&admin, "?state=sending").await.remove(0);
    assert_eq!(mail.get("next_at"), None);
    admin.post(&format!("/v1/mails/{}/retry", mail["id"].as_str().unwrap()), json!(null)).await.expect(202);
    assert_eq!(listed(&admin, "?state=sending").await, [mail]);
    drop(leased);
    assert_problem!(admin.post("/v1/mails/0198c5e0-0000-7000-8000-000000000000/retry", json!(null)).await, 404, "not_found");
}

#[tokio::test]
async fn mails_are_listed_for_a_month_and_unsent_ones_for_longer() {
    let app = TestApp::start_with(|settings| settings.mail.max_per_hour = 1).await;
    for name in ["sent", "waiting"] {
        send_test(&app.admin().await, name).await;
        app.send_due_mails().await;
        app.clock.advance(Duration::from_secs(1));
    }
    let listed = async || {
        let kept = app.mail_rows().await.into_iter().map(|mail| mail.to_address.unwrap());
        kept.map(|to| to.trim_end_matches("@example.org").to_owned()).collect::<Vec<_>>()
    };
    app.trusted().await;
    app.clock.advance(Duration::from_hours(24 * 30));
    mail::purge(&app.app, app.trusted().await).await.unwrap();
    assert_eq!(listed().await, ["sent", "waiting"]);
    app.clock.advance(Duration::from_hours(24) + Duration::from_secs(1));
    mail::purge(&app.app, app.trusted().await).await.unwrap();
    assert_eq!(listed().await, ["waiting"]);
}

#[tokio::test]
async fn a_committed_mail_wakes_the_sender_of_its_server_and_of_the_others() {
    let app = TestApp::start().await;
    let (admin, replica) = (app.admin().await, app.replica().await);
    let heard = Arc::new(Notify::new());
    let listener = {
        let (app, heard) = (replica.app.clone(), heard.clone());
        tokio::spawn(async move { app.db.listen(outbox::CHANNEL, move || heard.notify_one()).await })
    };
    if app.app.db.is_shared() {
        // PostgreSQL keeps no notification for a listener that is not there yet.
        loop {
            send_test(&admin, "ada").await;
            if timeout(Duration::from_secs(1), heard.notified()).await.is_ok() {
                break;
            }
        }
    }
    send_test(&admin, "ada").await;
    sending::woken(&app.app).await;
    listener.abort();
}

#[tokio::test]
async fn the_job_sends_mails_and_finishes_those_that_it_has_begun() {
    let app = TestApp::start().await;
    let jobs = vestibule::jobs::start(&app.app);
    let admin = app.admin().await;
    for number in 0..9 {
        send_test(&admin, &format!("user{number}")).await;
    }
    while listed(&admin, "?state=sent").await.len() < 9 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    app.app.stopping.cancel();
    vestibule::jobs::stop(jobs, &app.app).await;

    // A mail that is being sent delays the end.
    send_test(&admin, "late").await;
    let leased = sending::lease(&app.app).await.unwrap();
    let mut idle = pin!(sending::idle(&app.app));
    assert!(poll!(&mut idle).is_pending());
    for mail in leased {
        sending::deliver(&app.app, mail).await;
    }
    idle.await;
    assert_eq!(listed(&admin, "?state=sent").await.len(), 10);
}
