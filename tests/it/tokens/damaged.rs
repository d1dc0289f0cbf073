//! A valid token with random damage is never accepted.

use poem::http::{HeaderValue, Method};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::support::TestApp;

/// A way to damage bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(usize, u8),
    Cut(usize),
    Remove(usize),
    Insert(usize, u8),
    Replace(usize, u8),
    Swap(usize, usize),
    Double(usize, usize),
}

impl Damage {
    fn any() -> impl Strategy<Value = Self> {
        let at = any::<usize>;
        let byte = || prop_oneof![any::<u8>(), proptest::sample::select(b"=.+/-_ AQgw\t\"".as_slice())];
        prop_oneof![
            (at(), 0..8u8).prop_map(|(at, bit)| Self::Flip(at, bit)),
            at().prop_map(Self::Cut),
            at().prop_map(Self::Remove),
            (at(), byte()).prop_map(|(at, byte)| Self::Insert(at, byte)),
            (at(), byte()).prop_map(|(at, byte)| Self::Replace(at, byte)),
            (at(), at()).prop_map(|(one, other)| Self::Swap(one, other)),
            (at(), 1..64usize).prop_map(|(at, length)| Self::Double(at, length)),
        ]
    }

    fn apply(&self, bytes: &mut Vec<u8>) {
        let length = bytes.len().max(1);
        if bytes.is_empty() {
            return;
        }
        match *self {
            Self::Flip(at, bit) => bytes[at % length] ^= 1 << bit,
            Self::Cut(at) => bytes.truncate(at % length),
            Self::Remove(at) => _ = bytes.remove(at % length),
            Self::Insert(at, byte) => bytes.insert(at % (length + 1), byte),
            Self::Replace(at, byte) => bytes[at % length] = byte,
            Self::Swap(one, other) => bytes.swap(one % length, other % length),
            Self::Double(at, more) => {
                let at = at % length;
                let piece = bytes[at..(at + more).min(length)].to_vec();
                bytes.splice(at..at, piece);
            }
        }
    }
}

#[test]
fn no_damaged_token_is_accepted() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = runtime.block_on(TestApp::start());
    let token = runtime.block_on(async { app.user("ada").await.token.unwrap() });
    let config = Config { cases: 3_000, failure_persistence: None, ..Config::default() };
    let story = |damages: Vec<Damage>| {
        let mut damaged = token.clone().into_bytes();
        for damage in damages {
            damage.apply(&mut damaged);
        }
        let header = HeaderValue::from_bytes(&[b"Bearer ", damaged.as_slice()].concat());
        let Ok(header) = header else { return Ok(()) };
        // Spaces before a complete token are valid (RFC 9110 section 11.4), and poem drops tabs there, too.
        prop_assume!(damaged.trim_ascii_start() != token.as_bytes());
        let mut request = poem::Request::builder().uri_str("/v1/me").finish();
        request.headers_mut().insert("authorization", header);
        let answer = runtime.block_on(async {
            let response = app.raw(request).await;
            crate::support::checked::answer(&Method::GET, "/v1/me", response).await
        });
        prop_assert_eq!(answer.problem(), (401, "invalid_token"));
        Ok(())
    };
    TestRunner::new(config).run(&proptest::collection::vec(Damage::any(), 1..4), story).unwrap();
}
