//! What a caller can learn from a response without reading anybody's mailbox: every byte of it, the rows that the request wrote,
//! and the number of statements that it sent to the database, which stands for the time that it took.

use std::future::Future;

use super::{TestApp, caller::Answer};

/// Returns the response to a request, and all that can be observed of it.
pub async fn observed(app: &TestApp, request: impl Future<Output = Answer>) -> (Answer, String) {
    let (rows, statements) = (app.rows().await, app.app.db.statements());
    let answer = request.await;
    let statements = app.app.db.statements() - statements;
    let written: Vec<_> = app.rows().await.into_iter().map(|(table, count)| (table, count - rows[table])).collect();
    let text = format!("{}\n{written:?} {statements}\n", visible(&answer));
    (answer, text)
}

/// The status, the headers and the bytes of the body of a response, without what is random in each.
fn visible(answer: &Answer) -> String {
    let mut headers: Vec<_> =
        answer.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap())).collect();
    headers.sort();
    let mut text = format!("{}\n{}{:#}", answer.status, headers.concat(), answer.body);
    let random = [answer.header("x-request-id").to_owned(), answer.body["handle"].as_str().unwrap_or_default().to_owned()];
    for random in random.iter().filter(|random| !random.is_empty()) {
        text = text.replace(random.as_str(), &"?".repeat(random.len()));
    }
    text
}
