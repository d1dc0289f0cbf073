//! The paths of the contract, ready to be compared with a request's.

use std::sync::OnceLock;

use poem::http::Method;

use super::{document, operations};

/// A path of the contract, and what may be done there.
pub struct Route {
    /// The path with names for its variable parts, such as `/v1/users/{id}`.
    pub template: &'static str,
    segments: Vec<&'static str>,
    operations: Vec<(Method, &'static str)>,
    allow: String,
}

impl Route {
    /// The operation that this method calls. `HEAD` calls that of `GET`.
    #[must_use]
    pub fn operation(&self, method: &Method) -> Option<&'static str> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.operations.iter().find(|(known, _)| known == method).map(|(_, id)| *id)
    }

    /// The methods of the path, as an `Allow` header lists them.
    #[must_use]
    pub fn allow(&self) -> &str {
        &self.allow
    }

    fn fits(&self, path: &str) -> bool {
        let mut given = path.split('/');
        let fits = self
            .segments
            .iter()
            .all(|wanted| given.next().is_some_and(|given| *wanted == given || (wanted.starts_with('{') && !given.is_empty())));
        fits && given.next().is_none()
    }
}

/// The route that a request's path fits. A path without a variable part wins over one with.
#[must_use]
pub fn find(path: &str) -> Option<&'static Route> {
    routes().iter().find(|route| route.fits(path))
}

fn routes() -> &'static [Route] {
    static ROUTES: OnceLock<Vec<Route>> = OnceLock::new();
    ROUTES.get_or_init(|| {
        let mut routes: Vec<Route> = Vec::new();
        for (template, method, operation) in operations(document()) {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap_or_default();
            let id = operation.get("operationId").and_then(|id| id.as_str()).unwrap_or_default();
            // The operations of a path stand together.
            if routes.last().is_none_or(|route| route.template != template) {
                let segments = template.split('/').collect();
                routes.push(Route { template, segments, operations: Vec::new(), allow: String::new() });
            }
            if let Some(route) = routes.last_mut() {
                route.operations.push((method, id));
            }
        }
        for route in &mut routes {
            let mut methods: Vec<_> = route.operations.iter().map(|(method, _)| method.as_str()).collect();
            if methods.contains(&"GET") {
                methods.push("HEAD");
            }
            methods.push("OPTIONS");
            methods.sort_unstable();
            route.allow = methods.join(", ");
        }
        routes.sort_by_key(|route| route.template.contains('{'));
        routes
    })
}
