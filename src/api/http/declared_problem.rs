//! `DeclaredProblem<E>`: the problem that a handler returns, with the codes that it can have in its type. The contract reads
//! the codes from that type.

use std::marker::PhantomData;

use poem::{IntoResponse, Response};
use poem_openapi::{
    ApiResponse,
    registry::{MetaResponse, MetaResponses, Registry},
    types::Type,
};

use super::{
    codes::{Code, Codes},
    problem::{Problem, ProblemBody},
};
use crate::error::Error;

/// The error of a [`Reply`](super::reply::Reply). Its code is one of `E`, or one that every operation can return.
pub struct DeclaredProblem<E>(Problem, PhantomData<fn() -> E>);

impl<E> From<Error> for DeclaredProblem<E> {
    fn from(err: Error) -> Self {
        Self(err.into(), PhantomData)
    }
}

impl<E> From<DeclaredProblem<E>> for poem::Error {
    fn from(declared: DeclaredProblem<E>) -> Self {
        declared.0.into()
    }
}

impl<E> IntoResponse for DeclaredProblem<E> {
    fn into_response(self) -> Response {
        poem::Error::from(self).into_response()
    }
}

impl<E: Codes> ApiResponse for DeclaredProblem<E> {
    /// One placeholder for each code and each extra permission. The contract replaces them: see [`Declared`].
    fn meta() -> MetaResponses {
        let codes = E::CODES.iter().map(|code| placeholder(code.name(), Some(code.status()), None));
        let extra =
            E::EXTRA_PERMISSIONS.iter().map(|extra| placeholder(extra.permission.as_str(), None, Some(extra.case.to_owned())));
        MetaResponses { responses: codes.chain(extra).collect() }
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
    }
}

/// A response without content. It passes the declaration of a type to [`Declared::take`].
fn placeholder(description: &'static str, status: Option<u16>, status_range: Option<String>) -> MetaResponse {
    MetaResponse { description, status, status_range, content: Vec::new(), headers: Vec::new() }
}

/// What the type of a handler's error declares.
#[derive(Debug, Default)]
pub struct Declared {
    /// The codes that the operation can return beyond those that every operation can return.
    pub codes: Vec<Code>,
    /// The permissions that the operation requires in some cases: name and case.
    pub extra_permissions: Vec<(&'static str, String)>,
}

impl Declared {
    /// Takes the placeholders out of an operation's responses.
    pub fn take(responses: &mut Vec<MetaResponse>) -> Self {
        let mut declared = Self::default();
        responses.retain_mut(|response| {
            if let Some(case) = response.status_range.take() {
                declared.extra_permissions.push((response.description, case));
            } else if let Some(code) = Code::ALL.iter().find(|code| code.name() == response.description) {
                declared.codes.push(*code);
            } else {
                return true;
            }
            false
        });
        declared
    }
}
