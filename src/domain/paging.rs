//! Paging: lists go on from where they were by a cursor, never by an offset. A cursor carries a MAC over the list it
//! belongs to, so that one which was altered, or made for another list, is refused.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    app::App,
    error::{Fault, Result},
    values::{Invalid, query::Cursor},
};

/// The length of a cursor's MAC, in bytes: half of HMAC-SHA-256.
const MAC: usize = 16;

/// What a caller asks of a list.
#[derive(Debug, Clone)]
pub struct Paging {
    /// Where the page before ended.
    pub cursor: Option<Cursor>,
    /// At most so many items, 1 to 100.
    pub limit: u64,
}

/// One page.
#[derive(Debug, Clone)]
pub struct Slice<T> {
    /// The items, in order.
    pub items: Vec<T>,
    /// Where the next page begins; `None` on the last.
    pub next: Option<String>,
}

impl Paging {
    /// How many rows to ask for: one more than the page, which tells whether there is another.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.limit + 1
    }

    /// The position that the cursor names in `list`.
    ///
    /// # Errors
    /// A fault of the parameter `cursor`.
    pub fn position<K: DeserializeOwned>(&self, app: &App, list: &str) -> Result<Option<K>> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let open = || {
            let bytes = URL_SAFE_NO_PAD.decode(cursor.as_str()).ok()?;
            let (mac, key) = bytes.split_at_checked(MAC)?;
            let genuine = aws_lc_rs::constant_time::verify_slices_are_equal(mac, &sign(app, list, key)).is_ok();
            genuine.then(|| serde_json::from_slice(key).ok()).flatten()
        };
        let fault = || Fault::parameter("cursor", Invalid::new("not_allowed", "Is not a cursor of this list.")).into();
        open().map(Some).ok_or_else(fault)
    }

    /// Cuts `rows`, as many as [`Self::rows`] asked for, to a page; `key` names an item's position.
    pub fn slice<T, K: Serialize>(&self, app: &App, list: &str, mut rows: Vec<T>, key: impl Fn(&T) -> K) -> Slice<T> {
        let page = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > page;
        rows.truncate(page);
        let next = rows.last().filter(|_| more).and_then(|last| serde_json::to_vec(&key(last)).ok()).map(|key| {
            let mut bytes = sign(app, list, &key);
            bytes.extend(key);
            URL_SAFE_NO_PAD.encode(bytes)
        });
        Slice { items: rows, next }
    }
}

fn sign(app: &App, list: &str, key: &[u8]) -> Vec<u8> {
    let mac = hmac::sign(&app.cursor_key, &[list.as_bytes(), b"\0", key].concat());
    mac.as_ref()[..MAC].to_vec()
}

impl<T> Slice<T> {
    /// The same page of something else.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Slice<U> {
        Slice { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}
