//! `DeclaredProblem<E>`: the problem that a handler returns, with the codes that it can have in its type. The contract learns
//! the codes from there.

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
    /// One placeholder for each code. The contract replaces them with one response for each status.
    fn meta() -> MetaResponses {
        MetaResponses { responses: E::CODES.iter().copied().map(placeholder).collect() }
    }

    fn register(registry: &mut Registry) {
        ProblemBody::register(registry);
    }
}

/// A response without content that only names a code, for [`code_of`].
fn placeholder(code: Code) -> MetaResponse {
    MetaResponse {
        description: code.name(),
        status: Some(code.status()),
        status_range: None,
        content: Vec::new(),
        headers: Vec::new(),
    }
}

/// The code for which `response` is the placeholder, or `None` for a response of another kind.
pub fn code_of(response: &MetaResponse) -> Option<Code> {
    Code::ALL.iter().copied().find(|code| code.name() == response.description)
}
