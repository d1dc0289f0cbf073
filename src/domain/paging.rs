//! Paging: a list continues from a cursor, never from an offset. A cursor carries a MAC over its position and its list, so
//! that a cursor that was altered, or that belongs to another list, is rejected.

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

/// The part of a list that a caller requests.
#[derive(Debug, Clone)]
pub struct Paging {
    /// The end of the page before.
    pub cursor: Option<Cursor>,
    /// The maximum number of items, 1 to 100.
    pub limit: u64,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Slice<T> {
    /// The items, in order.
    pub items: Vec<T>,
    /// The cursor of the next page; `None` on the last page.
    pub next: Option<String>,
}

impl Paging {
    /// Returns the number of rows to query: one more than the page, which shows whether another page follows.
    pub fn rows(&self) -> u64 {
        self.limit + 1
    }

    /// Returns the position of the cursor in `list`. A cursor of another list is a fault of the parameter `cursor`.
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

    /// Cuts `rows`, at most [`Self::rows`], to a page. `key` returns an item's position.
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
    /// Converts every item.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Slice<U> {
        Slice { items: self.items.into_iter().map(change).collect(), next: self.next }
    }
}
