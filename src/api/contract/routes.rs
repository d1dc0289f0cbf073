//! The paths of the contract, for matching the path of a request.

use std::sync::OnceLock;

use poem::http::Method;

use super::{document, operations};

/// A path of the contract with its operations.
pub struct Route {
    /// The path with names in place of its variable segments, such as `/v1/users/{id}`.
    pub template: &'static str,
    segments: Vec<&'static str>,
    operations: Vec<(Method, &'static str)>,
    allow: String,
}

impl Route {
    /// Returns the id of the operation that this method calls. `HEAD` calls the operation of `GET`.
    pub fn operation(&self, method: &Method) -> Option<&'static str> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.operations.iter().find(|(known, _)| known == method).map(|(_, id)| *id)
    }

    /// Returns the methods of the path, as an `Allow` header lists them.
    pub fn allow(&self) -> &str {
        &self.allow
    }

    fn matches(&self, path: &str) -> bool {
        let mut given = path.split('/');
        let matches = self
            .segments
            .iter()
            .all(|wanted| given.next().is_some_and(|given| *wanted == given || (wanted.starts_with('{') && !given.is_empty())));
        matches && given.next().is_none()
    }
}

/// Returns the route that matches the path of a request. A path without variable segments takes precedence.
pub fn find(path: &str) -> Option<&'static Route> {
    routes().iter().find(|route| route.matches(path))
}

fn routes() -> &'static [Route] {
    static ROUTES: OnceLock<Vec<Route>> = OnceLock::new();
    ROUTES.get_or_init(|| {
        let mut routes: Vec<Route> = Vec::new();
        for (template, method, operation) in operations(document()) {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap_or_default();
            let id = operation.get("operationId").and_then(|id| id.as_str()).unwrap_or_default();
            // The document groups operations by path.
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
