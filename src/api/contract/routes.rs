//! The paths of the contract, for matching the path of a request.

use std::sync::OnceLock;

use poem::http::Method;

use super::{Declaration, declarations};

/// A path of the contract with its operations.
pub struct Route {
    /// The path with names in place of its variable segments, such as `/v1/users/{id}`.
    pub template: &'static str,
    operations: Vec<(Method, &'static str)>,
    allow: String,
}

impl Route {
    /// Returns the id of the operation that this method calls. `HEAD` calls the operation of `GET`.
    pub fn operation(&self, method: &Method) -> Option<&'static str> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.operations.iter().find(|(known, _)| known == method).map(|(_, id)| *id)
    }

    fn add(&mut self, method: Method, operation: &'static str) {
        self.operations.push((method, operation));
        let mut methods: Vec<_> = self.operations.iter().map(|(method, _)| method.as_str()).collect();
        if methods.contains(&"GET") {
            methods.push("HEAD");
        }
        methods.push("OPTIONS");
        methods.sort_unstable();
        self.allow = methods.join(", ");
    }

    /// Returns the methods of the path, as an `Allow` header lists them.
    pub fn allow(&self) -> &str {
        &self.allow
    }
}

/// The routes that share the segments of a path up to here.
#[derive(Default)]
struct Node {
    route: Option<Route>,
    fixed: Vec<(&'static str, Node)>,
    variable: Option<Box<Node>>,
}

impl Node {
    fn insert(&mut self, segments: &mut impl Iterator<Item = &'static str>) -> &mut Option<Route> {
        let Some(segment) = segments.next() else { return &mut self.route };
        if segment.starts_with('{') {
            return self.variable.get_or_insert_default().insert(segments);
        }
        let known = self.fixed.iter().position(|(name, _)| *name == segment);
        let index = known.unwrap_or_else(|| {
            self.fixed.push((segment, Self::default()));
            self.fixed.len() - 1
        });
        self.fixed[index].1.insert(segments)
    }

    /// Finds the route for the rest of a path. A fixed segment takes precedence over a variable one.
    fn find<'a>(&self, mut rest: impl Iterator<Item = &'a str> + Clone) -> Option<&Route> {
        let Some(segment) = rest.next() else { return self.route.as_ref() };
        let fixed = self.fixed.iter().find(|(name, _)| *name == segment);
        fixed.and_then(|(_, node)| node.find(rest.clone())).or_else(|| {
            let variable = self.variable.as_ref().filter(|_| !segment.is_empty())?;
            variable.find(rest)
        })
    }
}

/// Returns the route that matches the path of a request. A path without variable segments takes precedence.
pub fn find(path: &str) -> Option<&'static Route> {
    routes().find(path.split('/'))
}

fn routes() -> &'static Node {
    static ROUTES: OnceLock<Node> = OnceLock::new();
    ROUTES.get_or_init(|| {
        let mut routes = Node::default();
        for (id, Declaration { method, path, .. }) in declarations() {
            let route = routes.insert(&mut path.split('/'));
            let route = route.get_or_insert_with(|| Route { template: path, operations: Vec::new(), allow: String::new() });
            route.add(method.clone(), id);
        }
        routes
    })
}
